"""One line that says what is being done, on standard error, where somebody looks."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def steps(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that is told each step; the line is gone in the end.

    Args:
        quiet: whether nothing is to be seen; nor is it where standard error is no
            terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    err = Console(stderr=True)
    with err.status("starting") as status:
        yield lambda text: status.update(f"{text} ...")
