"""What was changed in models.conf, and what a search would change in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.verbs import apply
from placer.app.write import Applied
from placer.errors import InputError
from placer.profiles import backups, changed_profiles, parse_conf, read_conf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from placer.app.where import Where
    from placer.profiles import Backup, Conf


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One write that can be taken back.

    Attributes:
        backup: what the file held before it.
        when: its moment.
        profiles: those that were changed by it, or by hand before the next.
        is_edited: whether somebody changed the file before the next write, or now.
    """

    backup: Backup
    when: datetime
    profiles: tuple[str, ...]
    is_edited: bool


def diff(name: str | None, where: Where) -> Applied:
    """What ``apply`` would change; of no profile, what the last write has changed.

    Args:
        name: the profile, or None.
        where: the files.

    Raises:
        InputError: no such profile, no search of it that found anything, or nothing
            was ever written.
    """
    if name is not None:
        return apply(name, where, write=False)
    path = where.folders.conf_path
    after, found = read_conf(path), backups(path)
    if not found:
        raise InputError(
            "placer has not written it, so there is nothing to undo",
            path=path,
            hint="name a profile to see what placer apply would change",
        )
    return Applied(before=parse_conf(found[-1].data, path), after=after, written=True)


def history(where: Where) -> tuple[Written, ...]:
    """The writes that undo takes back, the newest first.

    Raises:
        InputError: the file or a backup cannot be read.
    """
    path = where.folders.conf_path
    return tuple(_written(backups(path), read_conf(path)))


def _written(found: tuple[Backup, ...], after: Conf) -> Iterator[Written]:
    for backup in reversed(found):
        before = parse_conf(backup.data, after.path)
        yield Written(
            backup=backup,
            when=backup.when,
            profiles=changed_profiles(before, after),
            is_edited=not backup.is_followed_by(after.data),
        )
        after = before
