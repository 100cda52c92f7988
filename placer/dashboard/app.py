"""The dashboard: what a source reads, on the screen, until the user leaves."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Footer, Input, Static

from placer.dashboard.figures import BAD, CALM, LABEL, PLAIN, QUIET, WARM
from placer.dashboard.log_view import LogView
from placer.dashboard.panels import panels_text
from placer.dashboard.room import History, Room
from placer.dashboard.screens import HelpScreen, StopScreen
from placer.dashboard.theme import THEME
from placer.units import duration_text

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from placer.dashboard.reading import Reading, Source

PERIOD_S = 1.0
# Two columns from here on; lines of a log are some hundred wide.
WIDE_COLUMNS = 160
ROOMY_ROWS = 45
LEAVE_S = 0.3
WORDS = {"ready": CALM, "ended": BAD}


class Dashboard(App[str]):
    """Watches one server.

    Args:
        source: what is read, in a thread of its own; it is closed in the end.
        period_s: the time between two readings.

    Attributes:
        first_shown: set once there is something to see.
    """

    CSS_PATH = "dashboard.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave('stop')", "Stop, exit"),
        Binding("r", "leave('menu')", "Stop, menu"),
        Binding("d", "detach", "Detach"),
        Binding("ctrl+c,ctrl+q", "detach", "Detach", show=False, priority=True),
        Binding("slash", "ask('find')", "Find", key_display="/"),
        Binding("n", "match(1)", "Next", show=False),
        Binding("N", "match(-1)", "Previous", show=False),
        Binding("f", "ask('filter')", "Filter"),
        Binding("l", "level", "Level"),
        Binding("space", "pause", "Pause"),
        Binding("escape", "clear", "Clear", show=False),
        Binding("question_mark,h", "help", "Help", key_display="?"),
    ]

    class Arrived(Message):
        """A reading, from the thread that reads."""

        def __init__(self, reading: Reading) -> None:
            super().__init__()
            self.reading = reading

    class Failed(Message):
        """The thread that reads cannot go on."""

        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

    def __init__(self, source: Source, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._source = source
        self._running_server = source.running
        self._period_s = period_s
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._history = History()
        self._reading: Reading | None = None
        self._asking = ""
        self.first_shown = asyncio.Event()
        self.animation_level = "none"

    def compose(self) -> ComposeResult:
        """A line of state, the panels, the log."""
        yield Static(id="head")
        with Container(id="body"):
            with VerticalScroll(id="panels"):
                yield Static(" reading…", id="panels-text")
            with Vertical(id="log-side"):
                yield Static(id="log-title")
                yield LogView()
                yield Input(id="ask", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to read."""
        self.register_theme(THEME)
        self.theme = THEME.name
        self.title = self._running_server.profile
        self.log_view.focus()
        self._reader.start()

    def on_unmount(self) -> None:
        """Read no more; an answer that is still out is not waited for."""
        self._over.set()
        if self._reader.is_alive():
            self._reader.join(LEAVE_S)

    @property
    def log_view(self) -> LogView:
        """The log on the screen."""
        return self.screen_stack[0].query_one(LogView)

    def _read(self) -> None:
        """In the thread that reads: one reading a period, until it is over."""
        try:
            while not self._over.is_set():
                self.post_message(self.Arrived(self._source.read()))
                self._over.wait(self._period_s)
        except Exception as error:  # noqa: BLE001 - it is raised where it is seen
            self.post_message(self.Failed(error))
        finally:
            self._source.close()

    def on_dashboard_failed(self, message: Failed) -> None:
        """A fault of the reader is one of the dashboard."""
        raise message.error

    def on_dashboard_arrived(self, message: Arrived) -> None:
        """A reading is there; it may be so late that nothing is shown any more."""
        if self.screen_stack:
            self.take(message.reading)

    def take(self, reading: Reading) -> None:
        """Show a reading."""
        self._reading = reading
        self._history.take(reading)
        self.log_view.add(reading.lines)
        self.show()
        self.first_shown.set()

    def on_log_view_moved(self) -> None:
        """The title says whether the log follows."""
        self.show()

    def on_resize(self, event: events.Resize) -> None:
        """Two columns where there is room for them."""
        self.set_class(event.size.width >= WIDE_COLUMNS, "wide")
        self.call_after_refresh(self.show)

    def show(self) -> None:
        """Draw the newest reading into the room that there is."""
        base = self.screen_stack[0]
        base.query_one("#log-title", Static).update(self._log_title())
        reading = self._reading
        if reading is None:
            return
        panels = base.query_one("#panels")
        room = Room(
            width=panels.scrollable_content_region.width or self.size.width,
            is_roomy=self.size.height >= ROOMY_ROWS,
        )
        base.query_one("#head", Static).update(self._head(reading))
        text = panels_text(self._running_server, reading, self._history, room)
        base.query_one("#panels-text", Static).update(text)

    def _head(self, reading: Reading) -> Text:
        """One line on the server; why it ended on more, where it did."""
        running = self._running_server
        text = Text.assemble((f" {running.profile}", f"bold {PLAIN}"))
        text.append(f"  {reading.word}", WORDS.get(reading.word, WARM))
        if reading.silent_s:
            text.append(f" for {duration_text(reading.silent_s)}", WARM)
        text.append(f"  {_age(reading)}", LABEL)
        text.append(f"  {running.base_url}", LABEL)
        text.append(f"  {running.engine}", QUIET)
        if running.emulated:
            text.append("  emulated GPUs", QUIET)
        text.truncate(self.size.width, overflow="ellipsis")
        ending = reading.ending
        if ending is not None:
            for said, style in ((ending.verdict, BAD), (ending.advice, PLAIN)):
                if said:
                    text.append(f"\n {said}", style)
        return text

    def _log_title(self) -> Text:
        view = self.log_view
        text = Text.assemble((" Log", f"bold {PLAIN}"))
        text.append(f"  {len(view.book):,} lines", QUIET)
        return text.append(f"   {view.state_text}", WARM)

    def action_leave(self, answer: str) -> None:
        """Stop and leave; requests that run are asked about first."""
        at_work = 0 if self._reading is None else self._reading.at_work
        if not at_work:
            self.exit(answer)
            return

        def then(is_sure: bool | None) -> None:  # noqa: FBT001 - textual's signature
            if is_sure:
                self.exit(answer)

        self.push_screen(StopScreen(at_work), then)

    def action_detach(self) -> None:
        """Leave at once; the server goes on."""
        self.exit("detach")

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(HelpScreen())

    def action_ask(self, purpose: str) -> None:
        """Ask for a text to find or to filter by."""
        entry = self.query_one("#ask", Input)
        book = self.log_view.book
        entry.value = book.searched if purpose == "find" else book.wanted
        self._asking = purpose
        entry.placeholder = f"{purpose}: type, then Enter; Esc leaves it"
        entry.add_class("open")
        entry.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A filter acts while it is typed."""
        if self._asking == "filter" and event.input.has_class("open"):
            self.log_view.filter(event.value)
            self.show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find or filter."""
        if self._asking == "find":
            self.log_view.find(event.value)
        else:
            self.log_view.filter(event.value)
        self._close_entry()

    def action_clear(self) -> None:
        """Close the entry, or end filter and search."""
        if self.query_one("#ask").has_class("open"):
            self._close_entry()
        else:
            self.log_view.clear()
            self.show()

    def _close_entry(self) -> None:
        self.query_one("#ask").remove_class("open")
        self.log_view.focus()
        self.show()

    def action_match(self, step: int) -> None:
        """The next or the previous place that has what is looked for."""
        self.log_view.next_match(step)
        self.show()

    def action_level(self) -> None:
        """Fewer levels of the log, or all again."""
        self.log_view.next_level()
        self.show()

    def action_pause(self) -> None:
        """The log stays where it is, or follows again."""
        self.log_view.toggle_pause()


def _age(reading: Reading) -> str:
    """How long it runs, or how long ago it was started."""
    since = duration_text(reading.uptime_s)
    return f"started {since} ago" if reading.ending else f"up {since}"
