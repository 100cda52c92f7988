from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from placer.cli.steps import steps

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Terminal(io.StringIO):
    """What somebody looks at."""

    def isatty(self) -> bool:
        return True


def watched(patch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, a terminal from here on."""
    screen = Terminal()
    patch.setattr(sys, "stderr", screen)
    patch.setenv("TERM", "xterm")
    return screen


def take(on_step: Callable[[str], None]) -> None:
    """Two steps."""
    on_step("planning")
    on_step("asking what limits")


def test_a_terminal_sees_each_step_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, which is cleared in the end."""
    terminal = watched(monkeypatch)
    with steps(quiet=False) as on_step:
        on_step("asking what limits")
    seen = terminal.getvalue()

    assert "asking what limits ..." in seen
    assert seen.endswith("\x1b[2K")


def test_who_asked_for_quiet_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even an escape sequence."""
    terminal = watched(monkeypatch)
    with steps(quiet=True) as on_step:
        take(on_step)

    assert terminal.getvalue() == ""


def test_a_pipe_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read standard error for errors."""
    with steps(quiet=False) as on_step:
        take(on_step)
    printed = capsys.readouterr()

    assert (printed.out, printed.err) == ("", "")
