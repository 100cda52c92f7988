from __future__ import annotations

from placer.dashboard.log_book import MOST_LINES, LogBook


def said(book: LogBook) -> list[str]:
    """The lines that are shown."""
    return [line.text for line in book.shown]


def test_a_line_without_a_level_has_the_one_before() -> None:
    """What belongs to an error goes where the error goes."""
    book = LogBook()
    book.add(["0.00.001.000 E broken", "  and why", "0.00.002.000 D chatter"])
    book.next_level()
    assert said(book) == ["0.00.001.000 E broken", "  and why"]


def test_a_server_says_once_that_it_is_idle() -> None:
    """It says so whenever its slots are asked; what happens between is kept."""
    book = LogBook()
    idle, work = "0.00.001.000 I srv  update_slots: all slots are idle", "slot  load: x"
    book.add([idle, idle.replace("1.0", "2.0"), work, idle])
    book.add([idle])
    assert said(book) == [idle, work, idle]


def test_a_filter_is_for_new_lines_too() -> None:
    """Text in either case, and the level beside it."""
    book = LogBook()
    book.want("SLOT")
    book.add(["0.00.001.000 I slot one", "0.00.001.000 I srv two"])
    assert said(book) == ["0.00.001.000 I slot one"]
    book.want("")
    assert len(said(book)) == 2


def test_control_characters_do_not_reach_the_terminal() -> None:
    """Colours of a server, bells and tabs are not printed as they are."""
    book = LogBook()
    book.add(["\x1b[31mred\x1b[0m\x07\tand a tab", "\x1b]0;title\x07plain"])
    assert said(book) == ["red     and a tab", "plain"]


def test_a_long_log_forgets_its_beginning() -> None:
    """And says how many shown rows went, so that a reader stays where he is."""
    book = LogBook()
    book.want("even")
    kept = [f"{n} {'odd' if n % 2 else 'even'}" for n in range(MOST_LINES)]
    assert book.add(kept) == 0
    before = len(book.shown)
    dropped = book.add(["last even"])
    assert dropped > 0
    assert len(book) < MOST_LINES
    assert said(book)[-1] == "last even"
    assert len(book.shown) == before + 1 - dropped


def test_what_is_searched_is_found_in_what_is_shown() -> None:
    """Rows, not lines of the file."""
    book = LogBook()
    book.add(["one", "slot a", "two", "slot b"])
    book.search("SLOT")
    assert book.found() == [1, 3]
    book.want("slot")
    assert book.found() == [0, 1]
    book.search("")
    assert book.found() == []
