"""The commands that the documents show, with what they are shown to print.

A fenced block without a language, or of ``sh``, ``bash`` or ``console``, is a session.
In it a line behind ``$ `` is a command and what follows is its output, where ``...``
stands for lines that are left out; a block without a ``$ `` holds commands alone, each
``placer`` at the start of a line. A line that ends in a backslash goes on in the next.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
GENERATED = {"cli.md", "accuracy.md", "oom-results.md", "planner-vs-fit.md"}
SESSION = re.compile(r"^```(|sh|bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(placer [a-z][^`]*)`")
CONTINUED = re.compile(r"\\\n\s*")
ASSIGNED = re.compile(r"^[A-Z_]+=")
PUNCTUATION = frozenset("|&;<>")


# As it stands, the arguments of each call of placer in it, and what it prints.
Line = tuple[str, list[list[str]], tuple[str, ...] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A command line of a page.

    Attributes:
        page: where it stands.
        line: as it stands there.
        output: what it is shown to print, line by line; None where nothing is shown.
    """

    page: str
    line: str
    output: tuple[str, ...] | None = None

    def commands(self) -> Iterator[list[str]]:
        """The arguments of every call of placer on the line."""
        lexer = shlex.shlex(self.line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        argv: list[str] = []
        for token in [*lexer, ";"]:
            if not set(token) <= PUNCTUATION:
                argv.append(token)
                continue
            while argv and ASSIGNED.match(argv[0]):
                argv.pop(0)
            if argv and argv[0].rpartition("/")[2] == "placer":
                yield argv[1:]
            argv = []


def pages() -> tuple[Path, ...]:
    """Every page that is written by hand."""
    found = [
        path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED
    ]
    return (ROOT / "README.md", *sorted(found))


def shown_in(path: Path) -> Iterator[Shown]:
    """The command lines of a page's sessions, in order."""
    for _, body in SESSION.findall(path.read_text(encoding="utf-8")):
        yield from _session(path.name, CONTINUED.sub("", body))


def _session(page: str, body: str) -> Iterator[Shown]:
    if not re.search(r"^\$ ", body, re.MULTILINE):
        for line in body.splitlines():
            if re.search(r"(^|\| )placer ", line):
                yield Shown(page=page, line=line.strip())
        return
    for piece in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, *output = piece.rstrip("\n").split("\n")
        yield Shown(page=page, line=line, output=tuple(output) or None)


def mentioned_in(path: Path) -> Iterator[str]:
    """What a page calls ``placer VERB ...`` within a sentence."""
    text = path.read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (span.replace(r"\|", "|") for span in SPAN.findall(outside))


@pytest.fixture(scope="session")
def shown() -> Callable[[str], list[Line]]:
    """The command lines of a page by its name."""
    by_name = {path.name: path for path in pages()}
    return lambda name: [
        (one.line, list(one.commands()), one.output) for one in shown_in(by_name[name])
    ]


@pytest.fixture(scope="session")
def mentioned() -> Callable[[str], list[str]]:
    """What a page mentions in its sentences, by its name."""
    by_name = {path.name: path for path in pages()}
    return lambda name: list(mentioned_in(by_name[name]))
