"""The menu of profiles: typing narrows it, Enter chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from placer.dashboard.figures import LABEL, PLAIN, QUIET, WARM
from placer.dashboard.theme import THEME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.app import ComposeResult

    from placer.app.menu import MenuEntry

NONE = " No profile has that in it; Esc shows all."
EMPTY = " There is no profile; placer new PROFILE MODEL.gguf adds one."
FOOT = (("Enter", "start"), ("↑ ↓", "move"), ("type", "narrow"), ("Esc", "leave"))
MOST_TYPED = 40


class Menu(App[str]):
    """Lists profiles; every letter narrows the list, as a profile may begin with any.

    Args:
        entries: in the order in which they are listed.
    """

    CSS_PATH = "menu.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Leave"),
        Binding("backspace", "erase", "Erase"),
        Binding("ctrl+c,ctrl+q", "leave", "Leave", priority=True),
    ]

    def __init__(self, entries: Sequence[MenuEntry]) -> None:
        super().__init__()
        self._entries = tuple(entries)
        self._typed = ""

    def compose(self) -> ComposeResult:
        """What is typed, the profiles, the keys."""
        yield Static(id="head")
        yield OptionList(id="profiles")
        yield Static(id="none")
        yield Static(_foot(), id="foot")

    def on_mount(self) -> None:
        """All of them, the first one marked."""
        self.register_theme(THEME)
        self.theme = THEME.name
        self._list()
        self.query_one(OptionList).focus()

    def on_resize(self) -> None:
        """Lines are cut to the width."""
        self.call_after_refresh(self._list)

    def on_key(self, event: events.Key) -> None:
        """Letters narrow the list."""
        if event.is_printable and event.character is not None:
            self._typed = (self._typed + event.character)[:MOST_TYPED].lstrip()
            self._list()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """That one."""
        self.exit(event.option_id)

    def action_erase(self) -> None:
        """One letter less."""
        self._typed = self._typed[:-1]
        self._list()

    def action_clear(self) -> None:
        """All of them again; nothing chosen, where they are all there."""
        if not self._typed:
            self.exit(None)
        self._typed = ""
        self._list()

    def action_leave(self) -> None:
        """Nothing is chosen."""
        self.exit(None)

    def _list(self) -> None:
        """Those that match what is typed; the same one stays marked."""
        options = self.query_one(OptionList)
        marked = options.highlighted_option
        shown = [entry for entry in self._entries if entry.matches(self._typed)]
        options.clear_options()
        width = max((len(entry.profile) for entry in self._entries), default=0)
        options.add_options(
            Option(_entry(entry, width, self.size.width), id=entry.profile)
            for entry in shown
        )
        ids = [entry.profile for entry in shown]
        if ids:
            kept = None if marked is None else marked.id
            options.highlighted = ids.index(kept) if kept in ids else 0
        self._say(n_shown=len(shown))

    def _say(self, *, n_shown: int) -> None:
        head = Text.assemble((" placer", f"bold {PLAIN}"))
        if self._typed:
            head.append("  narrowed to ", LABEL).append(f"{self._typed}▏", WARM)
        else:
            head.append("  choose a profile to start", LABEL)
        head.append(f"  {n_shown} of {len(self._entries)}", QUIET)
        self.query_one("#head", Static).update(head)
        none = "" if n_shown else (NONE if self._entries else EMPTY)
        self.query_one("#none", Static).update(Text(none, QUIET))


def _entry(entry: MenuEntry, name_width: int, width: int) -> Text:
    """A profile: its name and description on one line, what is known on the next."""
    text = Text(no_wrap=True)
    text.append(f"{entry.profile:<{name_width}}", f"bold {PLAIN}")
    text.append(f"  {entry.name}", PLAIN)
    if entry.description:
        text.append(f"  {entry.description}", LABEL)
    room = max(width - 6, 10)
    text.truncate(room, overflow="ellipsis")
    if entry.detail:
        detail = Text(" " * (name_width + 2) + entry.detail, QUIET)
        detail.truncate(room, overflow="ellipsis")
        text.append("\n").append_text(detail)
    return text


def _foot() -> Text:
    text = Text()
    for keys, does in FOOT:
        text.append(f" {keys}", WARM).append(f" {does} ", LABEL)
    return text
