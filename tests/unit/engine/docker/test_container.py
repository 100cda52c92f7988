"""The log of a container, copied to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from placer.engine.docker.container import OOM_KILLED, append, note_oom
from placer.engine.log import read_log

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@given(chunks=st.lists(st.binary(max_size=5), max_size=6), held=st.integers(0, 40))
def test_a_log_is_caught_up_with_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], held: int
) -> None:
    """Whatever was copied before, the file ends as what was said, once."""
    path = tmp_path_factory.mktemp("log") / "log"
    whole = b"".join(chunks)
    path.write_bytes(whole[:held])
    append(chunks, path)
    append([whole], path)
    assert path.read_bytes() == whole


def test_the_judge_reads_that_the_kernel_ended_it(tmp_path: Path) -> None:
    """It stands in the log once, and behind a line that was cut short."""
    path = tmp_path / "log"
    path.write_bytes(b"load_tensors: load")
    note_oom(path)
    note_oom(path)
    assert path.read_bytes().count(OOM_KILLED) == 1
    lines = path.read_text().splitlines()
    assert lines[0] == "load_tensors: load"
    assert read_log(lines).oom_killed == lines[1]
