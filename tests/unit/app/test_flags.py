"""The command line of a profile's server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.app.flags import Address, address_of, api_key_of, server_flags
from placer.app.target import Asked, Folders, Target, resolve
from placer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

ADDED = ("--alias", "moe", "--metrics", "-lv", "4")


def target_of(folder: Path, model: Path, *lines: str) -> Target:
    """A profile with these lines."""
    conf = folder / "models.conf"
    conf.write_text("\n".join(["[moe]", f"MODEL={model.name}", *lines, ""]))
    return resolve("moe", Folders(conf=conf, models=model.parent), Asked())


def test_every_flag_of_the_profile_is_there(tmp_path: Path, moe_path: Path) -> None:
    """Also what is not placer's and what it leaves out of its own launches."""
    target = target_of(
        tmp_path,
        moe_path,
        "CTX_SIZE=512",
        "N_GPU_LAYERS=99",
        "FIT=off",
        r"EXTRA_ARGS=--api-key x --jinja -b 256 --temp 0.6 -ot blk\.1\.=CPU",
    )
    own = r"-c 512 -ngl 99 -fit off --api-key x --jinja -b 256 --temp 0.6"
    expected = ("-m", str(moe_path), *own.split(), "-ot", r"blk\.1\.=CPU", *ADDED)
    assert server_flags(target) == expected


def test_a_profile_that_is_fitted_is_served_so(tmp_path: Path, moe_path: Path) -> None:
    """Nothing is said about a placement that the profile does not say."""
    target = target_of(tmp_path, moe_path, "FIT=on", "FIT_TARGET=512")
    flags = ("-m", str(moe_path), "-fit", "on", "-fitt", "512", *ADDED)
    assert server_flags(target) == flags


def test_another_placement_takes_the_place_of_its_own(
    tmp_path: Path, moe_path: Path
) -> None:
    """All of it, in whatever spelling; the rest stays."""
    target = target_of(
        tmp_path,
        moe_path,
        "N_GPU_LAYERS=99",
        "FIT=on",
        "EXTRA_ARGS=--tensor-split 3,2 --jinja -dev CUDA0 -cmoe -ub 64",
    )
    placed = ("-ngl", "5", "-ts", "4,1")
    flags = ("--jinja", "-ub", "64", "-fit", "off", *placed, *ADDED)
    assert server_flags(target, placed) == ("-m", str(moe_path), *flags)


def test_host_and_port_are_asked_for_or_the_profiles(
    tmp_path: Path, moe_path: Path
) -> None:
    """They are given once, by serve; its log level is serve's too."""
    extra = "EXTRA_ARGS=--port 8081 --host 0.0.0.0 -lv 1 --jinja --api-prefix /x/"
    target = target_of(tmp_path, moe_path, extra)
    assert "8081" not in server_flags(target)
    assert server_flags(target).count("-lv") == 1
    said = address_of(target, None, None)
    assert said.base_url == "http://127.0.0.1:8081/x"
    assert said.host == "0.0.0.0"  # noqa: S104
    assert address_of(target, "::1", 0).base_url == "http://[::1]:0/x"


def test_the_loopback_is_the_default(tmp_path: Path, moe_path: Path) -> None:
    """Nobody else reaches what nobody opened to others."""
    target = target_of(tmp_path, moe_path, "EXTRA_ARGS=--ssl-cert-file x")
    assert address_of(target, None, None) == Address(
        host="127.0.0.1", port=8080, scheme="https"
    )


@pytest.mark.parametrize("extra", ["--port http", "--host /tmp/a.sock"])
def test_where_nothing_can_be_asked_is_refused(
    tmp_path: Path, moe_path: Path, extra: str
) -> None:
    """A port that is no number; a server behind a file."""
    target = target_of(tmp_path, moe_path, f"EXTRA_ARGS={extra}")
    with pytest.raises(InputError):
        address_of(target, None, None)


def test_an_alias_of_the_profile_is_the_only_one(
    tmp_path: Path, moe_path: Path
) -> None:
    """Clients name the model by it; the profile's id is for those without."""
    for flag in ("--alias", "-a"):
        target = target_of(tmp_path, moe_path, f"EXTRA_ARGS={flag} big,bigger")
        flags = server_flags(target)
        assert flags[flags.index(flag) + 1] == "big,bigger"
        assert "moe" not in flags


def test_the_key_of_a_server_is_its_first(tmp_path: Path) -> None:
    """By flag or by file; of a file that cannot be read it is known to be one."""
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    assert api_key_of(("llama-server", "--api-key", "a,b")) == "a"
    assert api_key_of(("llama-server", "--api-key-file", str(keys))) == "one"
    assert api_key_of(("llama-server", "--api-key-file", str(tmp_path))) == ""
    assert api_key_of(("llama-server",)) is None
