from __future__ import annotations

import errno
import fcntl
import os
import stat
from datetime import date
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.profiles import Conf, Edit, read_conf, undo, write_conf
from placer.profiles.store import KEPT_BACKUPS

if TYPE_CHECKING:
    from pathlib import Path

FIRST = b"# mine\r\n[x]\nMODEL=m\nSPEED=0"
DAY = date(2026, 11, 23)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A models.conf."""
    path = tmp_path / "models.conf"
    path.write_bytes(FIRST)
    return path


def with_speed(conf: Conf, speed: str) -> Conf:
    """The same file with another speed."""
    return conf.updated("x", Edit(on=DAY, speed=speed))


def write_speed(path: Path, speed: str) -> bytes:
    """Read, edit and write; what the file holds then."""
    write_conf(with_speed(read_conf(path), speed), path)
    return path.read_bytes()


def files(folder: Path) -> set[str]:
    """Every file and folder below a folder."""
    return {str(entry.relative_to(folder)) for entry in folder.rglob("*")}


def test_a_write_puts_the_bytes_there(path: Path) -> None:
    """The file holds the edited bytes, and the conf can be edited on."""
    conf = write_conf(with_speed(read_conf(path), "1"), path)
    assert path.read_bytes() == conf.data == conf.original
    write_conf(with_speed(conf, "2"), path)
    assert read_conf(path).profile("x").speed == "2"


def test_nothing_to_write_leaves_nothing_behind(path: Path) -> None:
    """A conf that was not changed makes no backup, even of a read-only file."""
    path.chmod(0o444)
    write_conf(read_conf(path), path)
    assert files(path.parent) == {"models.conf"}


def test_mode_and_owner_stay(path: Path) -> None:
    """The file and its backup are as private as the file was."""
    path.chmod(0o640)
    write_speed(path, "1")
    backup = next(path.parent.glob(".models.conf.backups/*"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640
    assert backup.stat().st_uid == path.stat().st_uid


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    """The target is written, and the backups lie beside it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.conf"
    link.symlink_to(path)
    after = write_speed(link, "1")
    assert link.is_symlink()
    assert path.read_bytes() == after
    assert files(folder) == {"link.conf"}
    assert undo(link).data == FIRST == path.read_bytes()


def test_undo_takes_back_one_write_after_another(path: Path) -> None:
    """Each undo restores the exact bytes before one write, down to the first."""
    states = [FIRST, *(write_speed(path, str(speed)) for speed in range(1, 4))]
    for state in reversed(states[:-1]):
        assert undo(path).data == state
        assert path.read_bytes() == state
    with pytest.raises(InputError, match="nothing to undo"):
        undo(path)
    write_speed(path, "9")
    assert undo(path).data == FIRST


def test_undo_without_a_write_is_refused(path: Path) -> None:
    """There is nothing to undo where placer wrote nothing, and nothing is made."""
    with pytest.raises(InputError, match="nothing to undo"):
        undo(path)
    assert files(path.parent) == {"models.conf"}


def test_undo_refuses_what_somebody_changed(path: Path) -> None:
    """Another's change is not lost; by force it is undone and a copy is kept."""
    by_hand = write_speed(path, "1") + b"\n# note"
    path.write_bytes(by_hand)
    with pytest.raises(
        InputError, match="changed since placer wrote it; undo by force"
    ):
        undo(path)
    assert path.read_bytes() == by_hand
    assert undo(path, force=True).data == FIRST == path.read_bytes()
    kept = next(path.parent.glob(".models.conf.backups/changed-*"))
    assert kept.read_bytes() == by_hand


def test_undo_passes_over_a_write_that_never_came_about(path: Path) -> None:
    """A backup of what is there belongs to a write that was cut off."""
    write_speed(path, "1")
    folder = path.parent / ".models.conf.backups"
    (folder / f"0002-{'0' * 64}.conf").write_bytes(path.read_bytes())
    assert undo(path).data == FIRST
    assert files(folder) == set()


def test_the_newest_backups_stay(path: Path) -> None:
    """The history has an end, and it is the old one."""
    folder = path.parent / ".models.conf.backups"
    folder.mkdir()
    for number in range(1, KEPT_BACKUPS + 1):
        (folder / f"{number:04d}-{number:064d}.conf").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"mine")
    write_speed(path, "1")
    numbers = sorted(int(name[:4]) for name in files(folder) - {"notes.txt"})
    assert numbers == list(range(2, KEPT_BACKUPS + 2))
    assert (folder / "notes.txt").exists()


def test_a_file_that_changed_since_it_was_read_is_not_written(path: Path) -> None:
    """Somebody else's edit wins; the error says to run again."""
    conf = with_speed(read_conf(path), "1")
    path.write_bytes(FIRST + b"\n")
    with pytest.raises(InputError, match="changed since it was read; run again"):
        write_conf(conf, path)
    assert path.read_bytes() == FIRST + b"\n"
    assert files(path.parent) == {"models.conf"}


def test_two_placers_do_not_write_at_once(path: Path) -> None:
    """The second is told to wait, and writes nothing."""
    write_speed(path, "1")
    before = path.read_bytes()
    handle = os.open(path.parent / ".models.conf.backups", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another placer writes it"):
            write_speed(path, "2")
    finally:
        os.close(handle)
    assert path.read_bytes() == before
    write_speed(path, "2")


@pytest.mark.parametrize("act", [read_conf, undo])
def test_a_file_that_is_not_there_is_named(path: Path, act: object) -> None:
    """The error has the path and the system's reason."""
    assert callable(act)
    path.unlink()
    with pytest.raises(InputError, match=r"models\.conf: cannot be .*: No such file"):
        act(path)


def test_a_folder_that_vanished_is_named(path: Path, tmp_path: Path) -> None:
    """A write into a folder that is gone says so."""
    conf = with_speed(read_conf(path), "1")
    path.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_conf(conf, path)


def test_a_read_only_file_is_not_written(path: Path) -> None:
    """The folder would let it be replaced; whoever marked it did not mean that."""
    conf = with_speed(read_conf(path), "1")
    path.chmod(0o444)
    with pytest.raises(InputError, match="read-only; make it writable"):
        write_conf(conf, path)
    assert path.read_bytes() == FIRST
    assert files(path.parent) == {"models.conf"}


class Failing:
    """A system call whose n-th call fails, as on a full disk."""

    def __init__(self, call: object, at: int, error: BaseException) -> None:
        assert callable(call)
        self.call = call
        self.left = at
        self.error = error

    def __call__(self, *args: object) -> object:
        """The call, or the failure."""
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.call(*args)


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "ctrl-c"])
@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("mkdir", 1),
        ("open", 1),
        ("fdopen", 1),
        ("fchmod", 1),
        ("fsync", 1),
        ("replace", 1),
        ("fdopen", 2),
        ("fchmod", 2),
        ("fsync", 3),
        ("replace", 2),
    ],
)
def test_a_write_that_fails_leaves_the_file(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    at: int,
    error: BaseException,
) -> None:
    """The bytes are the old ones, and nothing is left beside them."""
    conf = with_speed(read_conf(path), "1")
    failing = Failing(getattr(os, name), at, error)
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            write_conf(conf, path)
    if isinstance(error, OSError):
        says = f"{path}: cannot be written: No space left on device"
        assert str(caught.value) == says
    assert failing.left <= 0
    assert path.read_bytes() == FIRST
    left = files(path.parent) - {".models.conf.backups"}
    assert left == {"models.conf"}
    write_conf(conf, path)
    assert undo(path).data == FIRST


@pytest.mark.parametrize("at", [2, 4])
def test_a_folder_that_cannot_be_synced_does_not_undo_the_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Some file systems cannot sync a folder; the file is replaced all the same."""
    monkeypatch.setattr(os, "fsync", Failing(os.fsync, at, FULL))
    after = write_speed(path, "1")
    assert read_conf(path).profile("x").speed == "1"
    monkeypatch.undo()
    assert path.read_bytes() == after
    assert undo(path).data == FIRST


def test_an_interrupt_after_the_write_leaves_it_to_undo(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the file is replaced its backup stays, whatever happens then."""
    conf = with_speed(read_conf(path), "1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", Failing(os.fsync, 4, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_conf(conf, path)
    assert path.read_bytes() == conf.data
    assert undo(path).data == FIRST


@pytest.mark.parametrize(("name", "at"), [("fsync", 1), ("replace", 1)])
def test_an_undo_that_fails_can_be_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    """The file is as placer wrote it, and its backup is there still."""
    after = write_speed(path, "1")
    with monkeypatch.context() as patch:
        patch.setattr(os, name, Failing(getattr(os, name), at, FULL))
        with pytest.raises(InputError, match="No space left"):
            undo(path)
    assert path.read_bytes() == after
    assert undo(path).data == FIRST
