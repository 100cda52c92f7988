"""What differs between two states of a models.conf, for a person to read."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from placer.profiles.lines import encode
from placer.profiles.profile import find_section

if TYPE_CHECKING:
    from placer.profiles.conf import Conf

_NO_NEWLINE = "\\ No newline at end of file"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def diff(old: Conf, new: Conf) -> str:
    """A unified diff without colours, empty where nothing differs.

    It is safe to print: bytes that are no UTF-8 and control characters are escaped.
    """
    name = old.path.name
    hunks = difflib.unified_diff(
        [line.text + line.end for line in old.lines],
        [line.text + line.end for line in new.lines],
        fromfile=name,
        tofile=f"{name} (new)",
    )
    return "".join(f"{_printable(text)}\n" for text in hunks)


def changed_profiles(old: Conf, new: Conf) -> tuple[str, ...]:
    """The profiles that are not the same in both, in the order of the file.

    Comments between a profile's keys are its own; those above it are nobody's.
    """
    before, after = _sections(old), _sections(new)
    names = {**before, **after}
    return tuple(name for name in names if before.get(name) != after.get(name))


def _sections(conf: Conf) -> dict[str, list[str]]:
    """The lines of each profile, from its header to its last key."""
    found = {}
    for profile in conf.profiles:
        section = find_section(conf.lines, profile.line - 1)
        lines = conf.lines[section.header : section.last_key + 1]
        found[profile.id] = [line.text for line in lines]
    return found


def _printable(text: str) -> str:
    body = text.rstrip("\r\n")
    readable = encode(body).decode("utf-8", "backslashreplace")
    escaped = _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", readable)
    return escaped if text.endswith("\n") else f"{escaped}\n{_NO_NEWLINE}"
