from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer import InputError
from placer.whole import MARK, write_anew, write_whole

if TYPE_CHECKING:
    from pathlib import Path

OURS = f"# {MARK} anything\none\n"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """No part of it, and no temporary file."""
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "nowhere" / "file", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(tmp_path / "folder", "text")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_placer_wrote_is_written_anew(tmp_path: Path) -> None:
    """As often as it is asked."""
    path = tmp_path / "file"
    write_anew(path, OURS)
    write_anew(path, OURS + "two\n")

    assert path.read_text() == OURS + "two\n"


@pytest.mark.parametrize(
    "theirs", [b"services: {}\n", b"", b"\xff\xfe\x00", b"#" * 999]
)
def test_what_somebody_else_wrote_stays(tmp_path: Path, theirs: bytes) -> None:
    """Unless it is to go by force."""
    path = tmp_path / "file"
    path.write_bytes(theirs)
    with pytest.raises(InputError, match="--force"):
        write_anew(path, OURS)
    assert path.read_bytes() == theirs

    write_anew(path, OURS, force=True)
    assert path.read_text() == OURS
