"""A new section at the end of a models.conf; every byte before it stays."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.profiles.lines import BLANKS, Kind, Line, comment, key_line
from placer.profiles.profile import KEYS
from placer.profiles.provenance import is_fact_line, was_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ID = re.compile(r"[A-Za-z0-9_-]+")


def appended_lines(
    lines: Sequence[Line],
    profile_id: str,
    values: Mapping[str, str],
    comments: Sequence[str] = (),
) -> tuple[Line, ...]:
    """The lines with a section behind them, its comments above its header.

    A last line that lacks its end is given one, and every line the end that is in
    use in the file.

    Raises:
        InputError: the id, a value or a comment cannot stand in a models.conf.
    """
    require_id(profile_id)
    end = next((line.end for line in reversed(lines) if line.end), "\n")
    above = list(lines)
    if above and not above[-1].end:
        above[-1] = replace(above[-1], end=end)
    if above and above[-1].kind is not Kind.BLANK:
        above.append(Line(text="", end=end, kind=Kind.BLANK))
    return (
        *above,
        *(comment(_comment_text(text), end) for text in comments),
        Line(text=f"[{profile_id}]", end=end, kind=Kind.SECTION, name=profile_id),
        *(key_line(k, _value(k, values[k]), end) for k in KEYS if k in values),
    )


def require_id(profile_id: str) -> None:
    """A name that can stand between brackets.

    Raises:
        InputError: it cannot.
    """
    if _ID.fullmatch(profile_id) is None:
        hint = "use letters, digits, _ and -"
        raise InputError(f"{profile_id!a} cannot name a profile", hint=hint)


def _value(key: str, text: str) -> str:
    if not text.isprintable() or text != text.strip(BLANKS):
        hint = "one printable line without blanks around it"
        raise InputError(f"{text!a} cannot stand as {key}", hint=hint)
    return text


def _comment_text(text: str) -> str:
    """A comment that is read as nobody's facts."""
    line = f"# {text}"
    if not line.isprintable() or is_fact_line(line) or was_key(line) is not None:
        raise InputError(f"{text!a} cannot stand as a comment")
    return line
