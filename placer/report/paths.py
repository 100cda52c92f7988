"""Documents name files, never the folders of the machine that made the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A slash after one of these is no root: 1/2, ./x, </s>, http://host.
NO_ROOT_AFTER = r"(?<![\w./~<)\]*])"
QUOTED = re.compile(
    r"""(?P<quote>['"`])(?P<path>(?:~\w*|file://)?/[^'"`]+)(?P=quote)"""
)
BARE = re.compile(rf"{NO_ROOT_AFTER}(?:~\w*|file://)?/(?![/\s])[^\s'\"`,;()<>|]+")


def without_folders(text: str, args: Sequence[str] = ()) -> str:
    """The text with every absolute path cut down to its base name.

    Args:
        text: a line of a log or an error.
        args: of the launch; a path among them is known where it ends, even if there
            are spaces in it.
    """
    for folder in _folders(args):
        text = re.sub(NO_ROOT_AFTER + re.escape(folder), "", text)
    text = QUOTED.sub(lambda m: m["quote"] + _base_name(m["path"]) + m["quote"], text)
    return BARE.sub(lambda match: _base_name(match[0]), text)


def _folders(args: Sequence[str]) -> list[str]:
    """The folders of the paths among the flags, the deepest first."""
    folders = {arg.rpartition("/")[0] for arg in args if arg.startswith("/")}
    return sorted((f"{f}/" for f in folders if f), key=len, reverse=True)


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
