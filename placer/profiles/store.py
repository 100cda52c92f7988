"""models.conf on disk: read, replaced whole, and put back.

A write leaves either the old bytes or the new ones, never a part. The bytes before it
are kept beside the file as ``.models.conf.backups/NNNN-<sha256>.conf``, where the
SHA-256 is that of the bytes that the write put in their place. That is the whole undo
history: undoing takes the newest backup back and removes it, and refuses when the
file no longer holds what that write wrote. A symbolic link stays one; its target is
replaced, and the backups lie beside the target.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.profiles.conf import parse_conf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.profiles.conf import Conf

KEPT_BACKUPS = 50
_BACKUP = re.compile(r"([0-9]{4,})-([0-9a-f]{64})\.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The bytes before one write, and the SHA-256 of those after it."""

    path: Path
    number: int
    written: str

    @property
    def data(self) -> bytes:
        """What the file held before the write."""
        return self.path.read_bytes()

    @property
    def when(self) -> datetime:
        """The moment of the write."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def is_followed_by(self, data: bytes) -> bool:
        """Whether the write put these bytes there."""
        return self.written == _sha256(data)


def read_conf(path: Path) -> Conf:
    """The profiles in a file.

    Raises:
        InputError: it cannot be read, or is no models.conf.
    """
    hint = "name a profile file with --conf or PLACER_CONF, or begin one: placer new"
    with _reason("cannot be read", path, hint):
        data = path.read_bytes()
    return parse_conf(data, path)


def write_conf(conf: Conf, path: Path) -> Conf:
    """The file holds the bytes of ``conf``, and they are on the disk.

    Returns:
        ``conf`` as a later write wants it.

    Raises:
        InputError: the file changed since ``conf`` was read, or cannot be written;
            it is as it was.
    """
    data = conf.data
    with _reason("cannot be written", path):
        target = Path(os.path.realpath(path, strict=True))
        _require_unchanged(target, path, conf.original)
        if data != conf.original:
            _require_writable(target, path)
            with _locked(_backup_folder(target), path):
                _require_unchanged(target, path, conf.original)
                _replace_with_backup(target, conf.original, data)
    return replace(conf, original=data)


def create_conf(path: Path, text: str) -> None:
    """A file with comments and nothing else, where there was none.

    Raises:
        InputError: there is a file, or it cannot be written.
    """
    with _reason("cannot be written", path):
        with path.open("xb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)


def backups(path: Path) -> tuple[Backup, ...]:
    """What undo would take back, one after the other; the newest is the last.

    Raises:
        InputError: the file or a backup cannot be read.
    """
    with _reason("cannot be read", path):
        target = Path(os.path.realpath(path, strict=True))
        folder = _backup_folder(target)
        if not folder.is_dir():
            return ()
        found, _ = _without_idle(_backups(folder), target.read_bytes())
        return tuple(found)


def undo(path: Path, *, force: bool = False) -> Conf:
    """The file holds what it held before the last write of placer.

    With ``force`` it does so even if somebody changed it since; what they made of it
    is kept in the backup folder as ``changed-<sha256>.conf``.

    Raises:
        InputError: there is nothing to undo, the file was changed since, or it cannot
            be written; it is as it was.
    """
    with _reason("cannot be written", path):
        target = Path(os.path.realpath(path, strict=True))
        _require_writable(target, path)
        folder = _backup_folder(target)
        if not folder.is_dir():
            raise InputError("there is nothing to undo", path=path)
        with _locked(folder, path):
            return _undo(target, path, force=force)


def _undo(target: Path, path: Path, *, force: bool) -> Conf:
    current = target.read_bytes()
    found, idle = _without_idle(_backups(_backup_folder(target)), current)
    if not found:
        raise InputError("there is nothing to undo", path=path)
    last = found[-1]
    conf = parse_conf(last.data, path)
    if not last.is_followed_by(current):
        if not force:
            hint = "undo by force, which keeps a copy of it"
            raise InputError("changed since placer wrote it", path=path, hint=hint)
        kept = last.path.parent / f"changed-{_sha256(current)}.conf"
        _put(current, kept, like=target.stat())
    _put(conf.data, target, like=target.stat())
    for done in (last, *idle):
        with suppress(OSError):  # what is there by now, so the next undo passes it over
            done.path.unlink()
    return conf


def _replace_with_backup(target: Path, old: bytes, new: bytes) -> None:
    folder = _backup_folder(target)
    found = _backups(folder)
    number = found[-1].number + 1 if found else 1
    backup = folder / f"{number:04d}-{_sha256(new)}.conf"
    like = target.stat()
    try:
        _put(old, backup, like=like)
        _put(new, target, like=like)
    except BaseException:
        _drop_if_idle(backup, target)
        raise
    for oldest in found[: -(KEPT_BACKUPS - 1)]:
        with suppress(OSError):  # the write is done
            oldest.path.unlink()


def _drop_if_idle(backup: Path, target: Path) -> None:
    """A backup of what is there still has nothing to put back."""
    with suppress(OSError):  # undo passes over one that stays
        if target.read_bytes() == backup.read_bytes():
            backup.unlink()
    with suppress(OSError):  # other backups are in it
        backup.parent.rmdir()


def _put(data: bytes, at: Path, *, like: os.stat_result) -> None:
    """The file at a path is replaced whole, with the owner and mode of another."""
    handle, name = tempfile.mkstemp(dir=at.parent, prefix=f"{at.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            with suppress(PermissionError):  # only root may give a file away
                os.fchown(handle, like.st_uid, like.st_gid)
            os.fchmod(handle, like.st_mode & 0o7777)
            file.flush()
            os.fsync(handle)
        Path(name).replace(at)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(at.parent)


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk, where the file system can promise that."""
    with suppress(OSError):  # the file is replaced already, whole
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _backup_folder(target: Path) -> Path:
    return target.parent / f".{target.name}.backups"


def _backups(folder: Path) -> list[Backup]:
    """The backups in a folder, the newest last."""
    matches = ((entry, _BACKUP.fullmatch(entry.name)) for entry in folder.iterdir())
    found = [
        Backup(path=entry, number=int(match.group(1)), written=match.group(2))
        for entry, match in matches
        if match is not None
    ]
    return sorted(found, key=lambda backup: backup.number)


def _without_idle(
    found: list[Backup], current: bytes
) -> tuple[list[Backup], list[Backup]]:
    """Those that can be taken back, and those of a write that never came about.

    The latter hold what the file holds.
    """
    last = len(found)
    while last and found[last - 1].data == current:
        last -= 1
    return found[:last], found[last:]


@contextmanager
def _locked(folder: Path, path: Path) -> Iterator[None]:
    """No other placer writes the file meanwhile."""
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        hint = "run again when it is done"
        raise InputError("another placer writes it", path=path, hint=hint) from None


@contextmanager
def _reason(problem: str, path: Path, hint: str | None = None) -> Iterator[None]:
    """An error of the system becomes a line that says what it was about."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{problem}: {reason}", path=path, hint=hint) from error


def _require_writable(target: Path, path: Path) -> None:
    """A file that is marked read-only stays, though its folder would let it go."""
    if not target.stat().st_mode & 0o222 or not os.access(target, os.W_OK):
        hint = "make it writable"
        raise InputError("cannot be written: read-only", path=path, hint=hint)


def _require_unchanged(target: Path, path: Path, original: bytes) -> None:
    if target.read_bytes() != original:
        raise InputError("changed since it was read", path=path, hint="run again")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
