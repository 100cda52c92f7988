from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.profiles import Edit, backups, create_conf, read_conf, undo, write_conf

if TYPE_CHECKING:
    from pathlib import Path

FIRST = b"[x]\nMODEL=m\nSPEED=0\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A models.conf that was written twice."""
    path = tmp_path / "models.conf"
    path.write_bytes(FIRST)
    for speed in ("1", "2"):
        edit = Edit(on=date(2026, 11, 23), speed=speed)
        write_conf(read_conf(path).updated("x", edit), path)
    return path


def test_each_write_can_be_told(path: Path) -> None:
    """What was there before it, when it was, and whether the file is as it left it."""
    first, last = backups(path)
    assert first.data == FIRST
    assert first.is_followed_by(last.data)
    assert last.is_followed_by(path.read_bytes())
    assert datetime.now(UTC) - last.when < timedelta(minutes=1)
    before = last.data
    assert undo(path).data == before
    assert [one.data for one in backups(path)] == [FIRST]


def test_a_write_that_never_came_about_is_none(path: Path) -> None:
    """A backup of what is there has nothing to take back."""
    folder = path.parent / ".models.conf.backups"
    (folder / f"0003-{'0' * 64}.conf").write_bytes(path.read_bytes())
    assert len(backups(path)) == 2


def test_a_file_without_a_history_has_none(tmp_path: Path) -> None:
    """One that placer has not written; one that is not there is an error."""
    path = tmp_path / "models.conf"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        backups(path)
    path.write_bytes(FIRST)
    assert backups(path) == ()


def test_a_file_is_made_only_where_there_is_none(tmp_path: Path) -> None:
    """Somebody else's is never replaced."""
    path = tmp_path / "models.conf"
    create_conf(path, "# mine\n")
    with pytest.raises(InputError, match="cannot be written: File exists"):
        create_conf(path, "# other\n")
    assert path.read_text() == "# mine\n"
