"""What lies over the dashboard: its keys, and one question."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from placer.dashboard.figures import LABEL, PLAIN, WARM

if TYPE_CHECKING:
    from textual.app import ComposeResult

KEYS = (
    ("q", "stop the server and exit"),
    ("r", "stop the server, back to the menu"),
    ("d", "detach: exit, the server goes on"),
    ("/  n  N", "find in the log; next, previous"),
    ("f", "filter the log by text"),
    ("l", "levels of the log: all, info, warnings, errors"),
    ("space", "pause the log, follow it again"),
    ("Esc", "no filter and no search"),
    ("arrows  PgUp  PgDn", "scroll; Home and End too"),
    ("Tab", "from the log to the panels and back"),
    ("?  h", "this help"),
)
SHAPES = """\
█ the server   ▓ others, or not known whose
░ free         ┃ the plan       – not known"""  # noqa: RUF001


class HelpScreen(ModalScreen[None]):
    """All keys; any of several closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,h,q,enter,space", "dismiss", "Close")
    ]

    def compose(self) -> ComposeResult:
        """A key a line."""
        text = Text.assemble(("Keys\n\n", f"bold {PLAIN}"))
        for keys, does in KEYS:
            text.append(f"{keys:<20}", WARM).append(f"{does}\n", PLAIN)
        text.append(f"\n{SHAPES}\n", LABEL).append("\nEsc closes this.", LABEL)
        yield Static(text, classes="box")


class StopScreen(ModalScreen[bool]):
    """Whether to stop a server that answers requests.

    Args:
        at_work: how many.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "dismiss(True)", "Stop it"),
        Binding("n,escape,q", "dismiss(False)", "Leave it"),
    ]

    def __init__(self, at_work: int) -> None:
        super().__init__()
        self._at_work = at_work

    def compose(self) -> ComposeResult:
        """One question, two keys."""
        requests = (
            "1 request is" if self._at_work == 1 else f"{self._at_work} requests are"
        )
        text = Text(f"{requests} being answered.\n\n", PLAIN)
        text.append("y", WARM).append("  stop the server all the same\n", PLAIN)
        text.append("n", WARM).append("  go on", PLAIN)
        yield Static(text, classes="box")
