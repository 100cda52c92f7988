from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import psutil
import pytest

import placer
from placer.app.clients import clients, named_model, write_setting
from placer.app.target import Asked, resolve
from placer.cli.clients import TOOLS as CHOICES
from placer.cli.main import run
from placer.clients import TOOLS
from placer.serve import Running, StateFolder
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

CONF = """\
[one]
NAME=The first
MODEL=dense.gguf
CTX_SIZE=8192
N_GPU_LAYERS=99
EXTRA_ARGS=-np 2 -no-kvu

[two]
MODEL=dense.gguf
CTX_SIZE=262144
N_GPU_LAYERS=99
EXTRA_ARGS=-np 1 --alias second,other --api-key sk-secret,sk-more --port 9000
"""


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> placer.Where:
    """Two profiles; nothing is served, and nobody listens."""
    monkeypatch.setenv("PLACER_STATE", str(tmp_path / "state"))
    write_llama(tmp_path / "dense.gguf")
    (tmp_path / "models.conf").write_text(CONF)
    return placer.Where(conf=tmp_path / "models.conf", models=tmp_path)


def served(folder: Path, profile: str) -> Running:
    """A record of this very process, which runs."""
    return Running(
        profile=profile,
        name=profile,
        model="dense.gguf",
        base_url="http://127.0.0.1:9",
        argv=(),
        log=folder / "server.log",
        started="2026-01-01T00:00:00+00:00",
        engine="1 (fake)",
        devices=(),
        pid=os.getpid(),
        pid_created=psutil.Process().create_time(),
    )


def test_a_profile_that_is_not_served_is_where_it_says(where: placer.Where) -> None:
    """At the engine's own port, or at the profile's."""
    one, two = clients("one", where), clients("two", where)

    assert one.endpoint.base_url == "http://127.0.0.1:8080"
    assert two.endpoint.base_url == "http://127.0.0.1:9000"
    assert not one.is_running
    assert [setting.tool for setting in one.settings] == list(TOOLS)


def test_a_model_is_called_by_its_alias_else_by_the_profile(
    where: placer.Where,
) -> None:
    """The first one, where there are several."""
    assert clients("one", where).endpoint.model == "one"
    assert clients("one", where).endpoint.title == "The first"
    assert clients("two", where).endpoint.model == "second"


@pytest.mark.parametrize(
    ("served", "model"),
    [
        ((), "second"),
        (("second",), "second"),
        (("one", "two"), "two"),
        (("renamed",), "renamed"),
        (("/models/dense.gguf",), "second"),
    ],
)
def test_what_a_server_says_itself_counts_unless_it_is_a_path(
    where: placer.Where, served: tuple[str, ...], model: str
) -> None:
    """A router has many; a server without an alias says where the file is."""
    target = resolve("two", where.folders, Asked())

    assert named_model(target, served) == model


def test_a_request_can_hold_what_a_slot_does(where: placer.Where) -> None:
    """Its share of the context, and no more than the model was trained for."""
    assert clients("one", where).endpoint.context == 4096
    assert clients("two", where).endpoint.context == 131072


def test_a_key_is_known_and_is_in_nothing_that_is_printed(
    where: placer.Where, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said where it stands."""
    found = clients("two", where)
    files = ["--conf", str(where.conf), "--models-dir", str(where.models)]

    assert found.key == "sk-secret"
    assert "line 12" in found.notes[0]
    for more in ([], ["--json"]):
        assert run(["clients", "two", *files, *more]) == 0
        printed = capsys.readouterr()
        assert "sk-" not in printed.out + printed.err


def test_a_profile_that_is_served_is_where_it_runs(
    where: placer.Where, tmp_path: Path
) -> None:
    """Without a name the only one that runs is meant."""
    state = StateFolder(tmp_path / "served")
    state.keep(served(tmp_path, "one"))

    for name in ("one", None):
        found = clients(name, where, state=state)
        assert found.endpoint.base_url == "http://127.0.0.1:9"
        assert found.profile == "one"
        assert found.is_running


def test_without_a_name_it_has_to_be_clear_which_is_meant(
    where: placer.Where, tmp_path: Path
) -> None:
    """None runs, or several."""
    state = StateFolder(tmp_path / "served")
    with pytest.raises(placer.InputError, match="no server"):
        clients(None, where, state=state)
    for profile in ("one", "two"):
        state.keep(served(tmp_path, profile))
    with pytest.raises(placer.InputError, match="one, two are served"):
        clients(None, where, state=state)


def test_an_address_may_end_in_v1(where: placer.Where) -> None:
    """It is the server's; what is no address is an input error."""
    found = clients("one", where, url="http://127.0.0.1:9/v1/")

    assert found.endpoint.openai_url == "http://127.0.0.1:9/v1"
    with pytest.raises(placer.InputError, match="no address"):
        clients("one", where, url="server:8080")


def test_a_file_that_says_something_else_is_not_replaced(
    where: placer.Where, tmp_path: Path
) -> None:
    """Unless it is to be; one that says the same is no harm."""
    (setting,) = clients("one", where, tool="continue").settings
    path = tmp_path / "config.yaml"

    assert write_setting(setting, path) == [path]
    assert write_setting(setting, tmp_path) == [path]
    path.write_text("name: mine\n")
    with pytest.raises(placer.InputError, match="is there already"):
        write_setting(setting, path)
    write_setting(setting, path, force=True)
    assert path.read_text() == setting.files[0].text


def test_a_tool_with_several_files_needs_a_folder(
    where: placer.Where, tmp_path: Path
) -> None:
    """Each goes under the name that the tool looks for."""
    (setting,) = clients("one", where, tool="aider").settings
    with pytest.raises(placer.InputError, match="2 files"):
        write_setting(setting, tmp_path / "aider.yml")
    folder = tmp_path / "repository"
    folder.mkdir()
    write_setting(setting, folder)

    names = {path.name for path in folder.iterdir()}
    assert names == {".aider.conf.yml", ".aider.model.metadata.json"}


def test_the_file_alone_goes_to_standard_output(
    where: placer.Where, capsys: pytest.CaptureFixture[str]
) -> None:
    """To be redirected; what a person should know does not."""
    files = ["--conf", str(where.conf), "--models-dir", str(where.models)]

    assert run(["clients", "one", "--tool", "claude-code", *files]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["env"]["ANTHROPIC_MODEL"] == "one"
    assert "4,096 tokens" in printed.err


def test_nobody_who_answers_is_exit_code_3(
    where: placer.Where, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways of asking are said."""
    files = ["--conf", str(where.conf), "--models-dir", str(where.models)]
    asked = ["clients", "one", "--check", "--url", "http://127.0.0.1:9", *files]

    assert run([*asked, "--quiet"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["/v1/chat/completions no answer", "/v1/messages no answer"]


def test_the_command_offers_every_tool() -> None:
    """It names them without importing them."""
    assert tuple(TOOLS) == CHOICES
