"""Servers on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from placer.errors import InputError
from placer.serve import Running, ServedDevice, StateFolder
from placer.serve.alive import background, end, is_alive
from placer.serve.lock import starting

RUNNING = Running(
    profile="glm-q8",
    name="GLM",
    model="/models/glm.gguf",
    base_url="http://127.0.0.1:8080",
    argv=("llama-server", "-m", "/models/glm.gguf"),
    log=Path("/state/glm-q8/server.log"),
    started="2026-01-01T00:00:00+00:00",
    engine="11434 (abcdef0)",
    devices=(
        ServedDevice(
            name="CUDA0",
            description="RTX",
            total_bytes=24,
            free_bytes=20,
            planned_bytes=None,
        ),
    ),
    ctx=4096,
)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """A folder that is not there yet."""
    return StateFolder(tmp_path / "state")


def test_a_record_is_read_as_it_was_kept(state: StateFolder) -> None:
    """Every field of it; a profile has one."""
    assert state.servers() == ()
    state.keep(RUNNING)
    state.keep(RUNNING)
    assert state.servers() == (RUNNING,)
    assert state.server("glm-q8") == RUNNING
    assert state.server("glm-q4") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"profile": "glm-q8"}'])
def test_a_broken_record_is_no_server(state: StateFolder, text: str) -> None:
    """Nor a fault; its folder is a leftover."""
    state.keep(RUNNING)
    (state.folder("glm-q8") / "server.json").write_text(text)
    assert state.servers() == ()
    assert state.leftovers() == ("glm-q8",)


def test_a_retired_server_leaves_what_it_said_last(state: StateFolder) -> None:
    """Its log under the profile's name, which no profile's folder can have."""
    for words in ("first", "second"):
        state.keep(RUNNING)
        (state.folder("glm-q8") / "server.log").write_text(words)
        state.retire("glm-q8")
        assert state.kept_log("glm-q8").read_text() == words
    assert [path.name for path in state.path.iterdir()] == ["glm-q8.log"]


def test_a_record_without_a_process_ends_as_nothing(state: StateFolder) -> None:
    """It did not run, and is gone."""
    state.keep(RUNNING)
    assert background(RUNNING) is None
    assert not is_alive(RUNNING)
    assert not end("glm-q8", state)
    assert state.servers() == ()


def test_one_start_at_a_time(state: StateFolder) -> None:
    """The second is told of the first, another profile's is none of its business."""
    with starting(state, "glm-q8"):
        with starting(state, "glm-q4"):
            pass
        with (
            pytest.raises(InputError, match="glm-q8 is being started by process"),
            starting(state, "glm-q8"),
        ):
            raise AssertionError
    with starting(state, "glm-q8"):
        pass
