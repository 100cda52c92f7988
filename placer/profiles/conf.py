"""A models.conf as it stands: its bytes, its profiles, and the file it was."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.profiles.append import appended_lines
from placer.profiles.edit import edited_lines
from placer.profiles.lines import BLANKS, Kind, join, read_lines
from placer.profiles.profile import find_section, read_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from placer.profiles.edit import Edit
    from placer.profiles.lines import Line
    from placer.profiles.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """The lines of a file, and the profiles that they are.

    Attributes:
        path: the file, for messages.
        original: the bytes that the file held when it was read; a write refuses to
            replace others.
    """

    path: Path
    original: bytes
    lines: tuple[Line, ...]
    profiles: tuple[Profile, ...]

    @property
    def data(self) -> bytes:
        """The bytes to be written."""
        return join(self.lines)

    def profile(self, profile_id: str) -> Profile:
        """The profile with an id.

        Raises:
            InputError: there is none.
        """
        for profile in self.profiles:
            if profile.id == profile_id:
                return profile
        ids = [profile.id for profile in self.profiles]
        near = difflib.get_close_matches(profile_id, ids, n=1)
        hint = f"did you mean {near[0]}" if near else f"it has {', '.join(ids)}"
        problem = f"there is no profile {profile_id!a}"
        raise InputError(problem, path=self.path, hint=hint if ids else None)

    def updated(self, profile_id: str, edit: Edit) -> Conf:
        """The same file with one profile edited.

        Raises:
            InputError: there is no such profile, or the edit cannot be written.
        """
        header = self.profile(profile_id).line - 1
        lines = edited_lines(self.lines, header, self.path, edit)
        return parse_conf(join(lines), self.path, original=self.original)

    def added(
        self, profile_id: str, values: Mapping[str, str], comments: Sequence[str] = ()
    ) -> Conf:
        """The same file with a profile behind all others.

        Args:
            profile_id: its name.
            values: of its keys.
            comments: lines above it, without their ``#``.

        Raises:
            InputError: there is such a profile, or this one cannot be written.
        """
        for profile in self.profiles:
            if profile.id == profile_id:
                raise InputError(
                    f"[{profile_id}] is there already",
                    path=self.path,
                    line=profile.line,
                    hint="give the new profile another name",
                )
        lines = appended_lines(self.lines, profile_id, values, comments)
        return parse_conf(join(lines), self.path, original=self.original)


def parse_conf(data: bytes, path: Path, *, original: bytes | None = None) -> Conf:
    """The file that some bytes are.

    Args:
        data: the bytes.
        path: the file, for messages.
        original: the bytes that the file holds, where they are others.

    Raises:
        InputError: the bytes are no models.conf, with the line.
    """
    lines = read_lines(data, path)
    headers = _headers(lines, path)
    profiles = tuple(
        read_profile(lines, find_section(lines, header), path) for header in headers
    )
    first = data if original is None else original
    return Conf(path=path, original=first, lines=lines, profiles=profiles)


def _headers(lines: tuple[Line, ...], path: Path) -> list[int]:
    """The index of each section's header."""
    seen: dict[str, int] = {}
    for index, line in enumerate(lines):
        if line.kind is Kind.KEY and not seen:
            problem = f"{line.text.strip(BLANKS)[:40]!a} stands before any section"
            hint = "write [name] above it"
            raise InputError(problem, path=path, line=index + 1, hint=hint)
        if line.kind is Kind.SECTION:
            first = seen.setdefault(line.name, index)
            if first != index:
                problem = f"[{line.name}] stands on line {first + 1} already"
                hint = "rename or remove one of the two"
                raise InputError(problem, path=path, line=index + 1, hint=hint)
    return list(seen.values())
