r"""What placer writes into the comments of a profile, and reads back from them.

Two kinds of line, each a whole comment line of its section; every other comment is
somebody else's and is never touched::

    fact line   "# placer: " pair (" " pair)*
    pair        name "=" value
    name        [A-Za-z][A-Za-z0-9_.-]*
    value       bare | quoted
    bare        one or more of the printable ASCII characters except space " and \
    quoted      a JSON string
    was line    "# " YYYY-MM-DD " placer: was " KEY "=" the value that was replaced

The fact lines of a section are one block: names do not repeat, a later edit replaces
the block. The name ``values`` is placer's own: the first 12 digits of a SHA-256 over
MODEL, CTX_SIZE, N_GPU_LAYERS, FIT, FIT_TARGET and EXTRA_ARGS as they were when the
facts were true, so that facts about a profile that was edited since can be told.

Both kinds are looked for between the section's header and its last key only: what
comes after that may be a section that somebody commented out.
"""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

VALUES = "values"
_PREFIX = "# placer: "
_WIDTH = 88  # columns
_NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
_BARE = r"[!#-\[\]-~]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_PAIR = re.compile(rf"({_NAME})=({_BARE}|{_QUOTED})(?: |\Z)")
_FACTS = re.compile(rf"{_PREFIX}(?:{_NAME}=(?:{_BARE}|{_QUOTED})(?: (?!\Z)|\Z))+")
_WAS = re.compile(r"# [0-9]{4}-[0-9]{2}-[0-9]{2} placer: was ([^=]*)=.*", re.DOTALL)


def is_fact_line(text: str) -> bool:
    """Whether the comment is one of placer's fact lines."""
    return _FACTS.fullmatch(text) is not None


def was_key(text: str) -> str | None:
    """The key whose replaced value the comment holds, ``None`` for other comments."""
    match = _WAS.fullmatch(text)
    return None if match is None else match.group(1).rstrip(" \t")


def was_line(replaced: str, on: date) -> str:
    """The comment that keeps a replaced key line."""
    return f"# {on.isoformat()} placer: was {replaced}"


def read_facts(comments: Iterable[str]) -> Mapping[str, str] | None:
    """The facts in the fact lines among the comments, ``None`` if there are none."""
    facts: dict[str, str] = {}
    for text in comments:
        if is_fact_line(text):
            pairs = _PAIR.finditer(text, len(_PREFIX))
            facts.update((pair.group(1), _read_value(pair.group(2))) for pair in pairs)
    return MappingProxyType(facts) if facts else None


def fact_lines(facts: Mapping[str, str]) -> tuple[str, ...]:
    """The facts as comments, from which :func:`read_facts` makes the same facts.

    Raises:
        InputError: a name is no name.
    """
    lines: list[str] = []
    for name, value in facts.items():
        if re.fullmatch(_NAME, name) is None:
            raise InputError(f"{name!r} cannot name a fact in models.conf")
        pair = f"{name}={_written_value(value)}"
        if lines and len(lines[-1]) + 1 + len(pair) <= _WIDTH:
            lines[-1] += f" {pair}"
        else:
            lines.append(_PREFIX + pair)
    return tuple(lines)


def _written_value(value: str) -> str:
    return value if re.fullmatch(_BARE, value) else json.dumps(value)


def _read_value(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text
