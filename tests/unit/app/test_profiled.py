"""``placer profiles``: what is known of each, and what of it still holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import pytest

from placer.app.profiled import Known, State, profiles
from placer.app.study import fingerprint
from placer.app.where import Where
from placer.errors import InputError, MachineError
from placer.gguf import read_gguf
from placer.profiles import Edit, read_conf, write_conf
from placer.testing.fake_engine import fake_engine, launches
from placer.testing.models import write_llama
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

CONF = """\
[bench-x]
MODEL=m.gguf
CTX_SIZE=10240
[x]
MODEL=m.gguf
EXTRA_ARGS=-b 512
[bench-alone]
MODEL=gone.gguf
CTX_SIZE=4096
[none]
NAME=None
"""
BUILD = "10434 (7e4c0a9)"
DAY = date(2026, 11, 23)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A folder with a model, four profiles and an engine."""

    folder: Path
    engine: Path

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    @property
    def where(self) -> Where:
        """The engine and the files."""
        return Where(server=self.engine, conf=self.conf, models=self.folder)

    def prove(self, **facts: str) -> None:
        """Facts beside [x], as a search writes them."""
        model = fingerprint(read_gguf(self.folder / "m.gguf"))
        usual = {"proved": "2026-11-23", "engine": BUILD, "model": model}
        edit = Edit(on=DAY, provenance={**usual, **facts})
        write_conf(read_conf(self.conf).updated("x", edit), self.conf)

    def known(self, *, ask_engine: bool = True) -> dict[str, Known]:
        """What is known, by profile."""
        found = profiles(self.where, ask_engine=ask_engine)
        return {one.profile.id: one for one in found.known}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Nothing is proved yet."""
    write_llama(tmp_path / "m.gguf")
    (tmp_path / "models.conf").write_text(CONF)
    return Desk(folder=tmp_path, engine=fake_engine(tmp_path))


def test_a_bench_variant_stands_behind_its_production_profile(desk: Desk) -> None:
    """One without is a profile like any other."""
    known = desk.known()
    assert list(known) == ["x", "bench-x", "bench-alone", "none"]
    assert known["bench-x"].production == "x"
    assert known["bench-alone"].production is None


def test_what_is_missing_is_said(desk: Desk) -> None:
    """A file that is not there, a section without a model, a file that is cut off."""
    known = desk.known()
    assert known["bench-alone"].problem == "model gone.gguf was not found"
    assert known["none"].problem == "has no MODEL"
    assert known["x"].state is State.UNPROVED
    (desk.folder / "m.gguf").write_bytes(b"GGUF")
    assert desk.known()["x"].state is State.NO_MODEL


def test_a_context_is_the_profiles_or_the_models(desk: Desk) -> None:
    """What neither says is not known."""
    known = desk.known()
    ctx = {name: one.ctx for name, one in known.items()}
    assert ctx == {"x": 131072, "bench-x": 10240, "bench-alone": 4096, "none": None}
    assert known["x"].model_bytes == (desk.folder / "m.gguf").stat().st_size


def test_a_proof_that_holds_is_shown(desk: Desk) -> None:
    """With what each device had left."""
    desk.prove(**{"free.CUDA0": "100MiB", "peak.CUDA0": "90MiB"})
    one = desk.known()["x"]
    assert (one.state, one.stale) == (State.PROVED, ())
    assert one.proved is not None
    assert one.proved.devices[0].left_bytes == 10 * MIB


def test_an_edit_makes_it_stale(desk: Desk) -> None:
    """Of a flag; a description is nobody's proof."""
    desk.prove()
    text = desk.conf.read_text()
    desk.conf.write_text(text.replace("[x]", "[x]\nDESCRIPTION=mine"))
    assert desk.known()["x"].state is State.PROVED
    desk.conf.write_text(text.replace("-b 512", "-b 256"))
    assert desk.known()["x"].stale == ("edited since",)


def test_another_model_makes_it_stale(desk: Desk) -> None:
    """The file has the same name, and other tensors."""
    desk.prove()
    write_llama(desk.folder / "m.gguf", n_layer=2)
    assert desk.known()["x"].stale == ("another model since",)


def test_another_engine_makes_it_stale(desk: Desk) -> None:
    """Both builds are named; emulated devices have an engine of their own."""
    desk.prove(engine="10000 (0000000)")
    why = f"proved on engine 10000 (0000000), now {BUILD}"
    assert desk.known()["x"].stale == (why,)
    assert desk.known(ask_engine=False)["x"].state is State.PROVED
    desk.prove(engine="10000 (0000000)", emulated="yes")
    assert desk.known()["x"].state is State.PROVED
    assert launches(desk.engine) == ()


def test_no_engine_is_no_error_unless_it_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it asked where no proof names a build."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", "/nowhere/llama-server")
    where = Where(conf=desk.conf, models=desk.folder)
    named = Where(server=desk.folder / "no", conf=desk.conf, models=desk.folder)
    assert profiles(named).engine is None
    desk.prove()
    assert profiles(where).engine is None
    assert profiles(where).known[0].state is State.PROVED
    assert profiles(desk.where).engine == BUILD
    with pytest.raises(MachineError, match="no such program"):
        profiles(named)


def test_no_file_is_an_error(desk: Desk) -> None:
    """It says how one is begun."""
    desk.conf.unlink()
    with pytest.raises(InputError, match="begin one: placer new"):
        profiles(desk.where)
