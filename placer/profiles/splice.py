"""Values and placer's comments, put among the lines of a section."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.profiles.lines import BLANKS, Kind, comment, key_line
from placer.profiles.profile import KEYS, find_section
from placer.profiles.provenance import fact_lines, is_fact_line, was_key, was_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from placer.profiles.lines import Line

KEPT_WAS_LINES = 3  # a key; the older ones go


def put_value(
    lines: Sequence[Line], header: int, key: str, value: str, on: date
) -> list[Line]:
    """The lines with a value in the section whose header is at an index.

    The value that it replaces stays as a comment above it; a key that the section
    lacks is added in the order of :data:`KEYS`.
    """
    index = find_section(lines, header).keys.get(key)
    if index is None:
        return _with_key(lines, header, key, value)
    old = lines[index]
    above = index
    while _is_facts(lines[above - 1]):
        above -= 1
    was = comment(was_line(old.text.strip(BLANKS), on), _end_at(lines, index))
    new = [
        *lines[:above],
        was,
        *lines[above:index],
        old.with_value(value),
        *lines[index + 1 :],
    ]
    return _with_newest_was(new, header, key)


def put_facts(
    lines: Sequence[Line], header: int, facts: Mapping[str, str]
) -> list[Line]:
    """The lines with these facts in place of those that the section had."""
    last_key = find_section(lines, header).last_key
    old = [i for i in range(header + 1, last_key) if _is_facts(lines[i])]
    kept = [line for i, line in enumerate(lines) if i not in old]
    section = find_section(kept, header)
    at = old[0] if old else section.keys.get("EXTRA_ARGS", section.last_key)
    end = _end_at(kept, at)
    return [*kept[:at], *(comment(text, end) for text in fact_lines(facts)), *kept[at:]]


def _with_key(lines: Sequence[Line], header: int, key: str, value: str) -> list[Line]:
    keys = find_section(lines, header).keys
    before = (keys[k] for k in KEYS[: KEYS.index(key)] if k in keys)
    after = max(before, default=header)
    end = _end_at(lines, after)
    return [
        *lines[:after],
        replace(lines[after], end=end),
        key_line(key, value, lines[after].end),
        *lines[after + 1 :],
    ]


def _with_newest_was(lines: Sequence[Line], header: int, key: str) -> list[Line]:
    last_key = find_section(lines, header).last_key
    own = [i for i in range(header + 1, last_key) if _was_key(lines[i]) == key]
    gone = own[:-KEPT_WAS_LINES]
    return [line for i, line in enumerate(lines) if i not in gone]


def _is_facts(line: Line) -> bool:
    return line.kind is Kind.COMMENT and is_fact_line(line.text.strip(BLANKS))


def _was_key(line: Line) -> str | None:
    return was_key(line.text.strip(BLANKS)) if line.kind is Kind.COMMENT else None


def _end_at(lines: Sequence[Line], index: int) -> str:
    """The line end in use at a line, which at the end of a file may lack its own."""
    return lines[index].end or lines[index - 1].end
