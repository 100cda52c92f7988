"""Options of the verbs that put problems to a model, or have several users ask it."""

from __future__ import annotations

from typing import Any

import click

from placer.quality.suite import SUITES

# httpx has no more connections at once.
MOST_USERS = 64
MOST = 1 << 24


class Numbers(click.ParamType[tuple[int, ...]]):
    """``0,4096,16384``: whole numbers."""

    name = "N,N"

    def __init__(self, least: int = 1, most: int = MOST) -> None:
        self._least, self._most = least, most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, each once."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(dict.fromkeys(int(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 1,2,4", param, ctx)
        if not all(self._least <= number <= self._most for number in numbers):
            self.fail(f"give numbers from {self._least} to {self._most}", param, ctx)
        return numbers


EXAM = (
    click.option(
        "--suite",
        type=click.Choice(list(SUITES)),
        default="humaneval",
        show_default=True,
        help="Which problems.",
    ),
    click.option("--limit", type=click.IntRange(min=1), help="So many of them.  [all]"),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Answers to each problem.",
    ),
    click.option(
        "--max-tokens",
        type=click.IntRange(min=1),
        default=1024,
        show_default=True,
        help="Of an answer, thoughts included; models that think need many more.",
    ),
    click.option(
        "--style",
        type=click.Choice(["chat", "complete"]),
        default="chat",
        show_default=True,
        help="As a message, or, for models without chat, a text to be continued.",
    ),
    click.option(
        "--sandbox",
        type=click.Choice(["auto", "bubblewrap", "docker"]),
        default="auto",
        show_default=True,
        help="Where the answers are run.",
    ),
)
