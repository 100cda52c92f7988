"""The log on the screen: it scrolls, follows its end, and finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from placer.dashboard.figures import BAD, PLAIN, QUIET, WARM
from placer.dashboard.log_book import LEVEL_NAMES, LogBook

if TYPE_CHECKING:
    from collections.abc import Iterable

    from placer.dashboard.log_book import Line

STYLES = {"E": BAD, "W": WARM, "I": PLAIN, "T": QUIET, "D": QUIET}
FOUND = Style(reverse=True)
AT = Style(reverse=True, bold=True, underline=True)


class LogView(ScrollView, can_focus=True):
    """The lines of a log book.

    Attributes:
        book: the lines.
        follows: whether new lines move it to the end.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("left", "scroll_left", "Left", show=False),
        Binding("right", "scroll_right", "Right", show=False),
        Binding("home,g", "scroll_home", "Top", show=False),
        Binding("end,G", "end", "End", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown", "page_down", "Page down", show=False),
    ]

    class Moved(Message):
        """It follows its end from now on, or does so no more."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self.book = LogBook()
        self.follows = True
        self._at: int | None = None
        self._widest = 0
        self._unseen = 0

    @property
    def state_text(self) -> str:
        """How it is looked at: the filter, the search, whether it follows."""
        book = self.book
        parts = []
        if book.least != "D":
            parts.append(f"level: {LEVEL_NAMES[book.least]}")
        if book.wanted:
            parts.append(f"filter: {book.wanted}")
        if book.searched:
            parts.append(self._search_text())
        if not self.follows:
            unseen = f", {self._unseen:,} new" if self._unseen else ""
            parts.append(f"paused{unseen}")
        return "   ".join(parts)

    def _search_text(self) -> str:
        rows = self.book.found()
        if not rows:
            return f"find: {self.book.searched}, nowhere"
        at = f"{rows.index(self._at) + 1} of " if self._at in rows else ""
        return f"find: {self.book.searched}, {at}{len(rows):,}"

    def add(self, lines: Iterable[str]) -> None:
        """Take in new lines, and stay at the end if that is where it is."""
        before = len(self.book.shown)
        dropped = self.book.add(lines)
        new = len(self.book.shown) - before + dropped
        if dropped and self._at is not None:
            self._at = max(self._at - dropped, 0)
        self._measure(self.book.shown[len(self.book.shown) - new :] if new else ())
        if self.follows:
            self._to_end()
        else:
            self._unseen += new
            if dropped:
                self.scroll_to(y=max(self.scroll_offset.y - dropped, 0), animate=False)
        self.refresh()

    def filter(self, text: str) -> None:
        """Show the lines with a text in them; the end of them."""
        self.book.want(text)
        self._anew()

    def next_level(self) -> None:
        """Show fewer levels, or all again."""
        self.book.next_level()
        self._anew()

    def find(self, text: str) -> None:
        """Look for a text, and go to the last place that has it."""
        self.book.search(text)
        rows = self.book.found()
        self._go_to(rows[-1] if rows else None)

    def next_match(self, step: int) -> None:
        """The next place, downwards or up; round the end."""
        rows = self.book.found()
        if not rows:
            return
        here = self.scroll_offset.y if self._at is None else self._at
        beyond = [row for row in rows if (row - here) * step > 0]
        ahead = beyond or rows
        self._go_to(ahead[0] if step > 0 else ahead[-1])

    def clear(self) -> None:
        """Neither filter nor search."""
        self.book.search("")
        self.book.want("")
        self.book.least = "D"
        self._anew()

    def toggle_pause(self) -> None:
        """Stay where it is, or follow the end again."""
        if self.follows:
            self._follow(False)
        else:
            self.action_end()

    def action_end(self) -> None:
        """Go to the end and stay there."""
        self._follow(True)
        self._to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Who scrolls up wants to read; who comes back to the end, to follow."""
        super().watch_scroll_y(old_value, new_value)
        is_at_end = new_value >= self.max_scroll_y
        if is_at_end != self.follows and (is_at_end == (new_value > old_value)):
            self._follow(is_at_end)

    def on_resize(self) -> None:
        """The end stays in sight."""
        if self.follows:
            self.call_after_refresh(self._to_end)

    def render_line(self, y: int) -> Strip:
        """One row of what is in sight."""
        left, top = self.scroll_offset
        row = top + y
        width = self.size.width
        if row >= len(self.book.shown):
            return Strip.blank(width, self.rich_style)
        strip = Strip(list(self._segments(row, self.book.shown[row])))
        strip = strip.apply_style(self.rich_style)
        return strip.crop_extend(left, left + width, self.rich_style)

    def _segments(self, row: int, line: Line) -> Iterable[Segment]:
        style = Style.parse(STYLES[line.level])
        sought, text = self.book.searched, line.text
        at = text.casefold().find(sought) if sought else -1
        while at >= 0:
            yield Segment(text[:at], style)
            yield Segment(text[at : at + len(sought)], AT if row == self._at else FOUND)
            text = text[at + len(sought) :]
            at = text.casefold().find(sought)
        yield Segment(text, style)

    def _go_to(self, row: int | None) -> None:
        self._at = row
        if row is not None:
            self._follow(False)
            middle = max(row - self.size.height // 2, 0)
            self.scroll_to(y=middle, animate=False, force=True)
        self.refresh()

    def _follow(self, is_wanted: bool) -> None:  # noqa: FBT001 - the one thing it is told
        self.follows, self._unseen = is_wanted, 0
        self.post_message(self.Moved())

    def _anew(self) -> None:
        """Other lines are shown: from their end."""
        self._at, self._widest = None, 0
        self._measure(self.book.shown)
        self.action_end()
        self.refresh()

    def _measure(self, lines: Iterable[Line]) -> None:
        widest = max((len(line.text) for line in lines), default=0)
        self._widest = max(self._widest, widest)
        self.virtual_size = Size(self._widest, len(self.book.shown))

    def _to_end(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
