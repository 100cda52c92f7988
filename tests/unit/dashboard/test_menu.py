from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from placer.app.menu import MenuEntry
from placer.dashboard.menu_app import Menu
from placer.dashboard.stage import screen_text

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRIES = (
    MenuEntry(profile="glm-q4", name="GLM 4.7 Flash", description="one GPU"),
    MenuEntry(profile="glm-q8", name="GLM 4.7 Flash", detail="proved in May"),
    MenuEntry(profile="qwen-next", name="Qwen3 Coder Next"),
)


def played(keys: Sequence[str], entries: Sequence[MenuEntry] = ENTRIES) -> Menu:
    """The menu after these keys, and with what was on its screen."""
    menu = Menu(entries)

    async def play() -> None:
        async with menu.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            menu.sub_title = screen_text(menu)

    asyncio.run(play())
    return menu


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (["enter"], "glm-q4"),
        (["down", "down", "up", "enter"], "glm-q8"),
        (["pagedown", "enter"], "qwen-next"),
        ([*"coderx", "backspace", "enter"], "qwen-next"),
        ([*"MAY", "enter"], "glm-q8"),
        ([*"qwen", "enter"], "qwen-next"),
    ],
)
def test_enter_chooses_what_is_marked(keys: list[str], chosen: str | None) -> None:
    """Whether it was moved to or is what the typed words leave."""
    assert played(keys).return_value == chosen


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
def test_the_menu_is_left(key: str) -> None:
    """Then nothing is chosen."""
    menu = played([key])
    assert menu.return_value is None
    assert menu._exit


def test_escape_ends_the_narrowing_first() -> None:
    """What was typed goes, the menu stays."""
    menu = played(["n", "e", "x", "t", "escape"])
    assert not menu._exit
    assert "3 of 3" in menu.sub_title


def test_q_is_a_letter_once_something_is_typed() -> None:
    """A profile with a q in its name can be typed."""
    menu = played([*"glm-q8"])
    assert not menu._exit
    assert "1 of 3" in menu.sub_title


def test_what_nobody_has_is_said() -> None:
    """An empty list says why it is empty."""
    assert "No profile has that in it" in played([*"zebra"]).sub_title
    assert "placer new" in played([], entries=()).sub_title


def test_the_mark_stays_where_it_is() -> None:
    """Narrowing does not lose the profile that is marked, if it is still there."""
    assert played(["down", *"flash", "enter"]).return_value == "glm-q8"
