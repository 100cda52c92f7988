"""Standard output, as tables and pictures are printed to it."""

from __future__ import annotations

import sys

from rich.console import Console

DEFAULT_COLUMNS = 80


class _Out(Console):
    """Leaves a closed pipe to the command, which ends with a code of its own."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process with a fault."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output: no colour where it is a pipe, 80 columns where nobody says.

    What the encoding lacks is printed as a question mark, never a fault.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    out = _Out(highlight=False, soft_wrap=False)
    if out.width < 1:
        out.width = DEFAULT_COLUMNS
    return out
