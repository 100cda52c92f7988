"""The dashboard's screens, without colours, as they are on record beside this file.

``PLACER_UPDATE_GOLDEN=1`` writes them anew; look at the difference before you keep it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.app.menu import MenuEntry
from placer.dashboard import scripted
from placer.dashboard.menu_app import Menu
from placer.dashboard.stage import screen_text, staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.dashboard.scripted import Scene

HERE = Path(__file__).parent
SMALL, LARGE = (80, 24), (200, 60)
SCENES = {
    "two-gpus": scripted.two_gpus(),
    "emulated": scripted.emulated_gpus(),
    "no-gpu": scripted.no_gpu(),
    "dead": scripted.dead(),
}
ENTRIES = (
    MenuEntry(
        profile="glm-q8",
        name="GLM 4.7 Flash Q8_0",
        description="two GPUs, 128K",
        detail="proved 2026-01-02 on b10434, 105.2 tokens/s, least free 812 MiB",
    ),
    MenuEntry(
        profile="qwen-next-q5",
        name="Qwen3 Coder Next UD-Q5_K_XL",
        description="the big one: two GPUs and the CPU, "
        "and a description of some length",
        detail="not proved: placer optimize qwen-next-q5",
    ),
    MenuEntry(profile="bench", name="bench"),
)


def check(name: str, said: str) -> None:
    """The screen is the one on record."""
    path = HERE / f"{name}.txt"
    if os.environ.get("PLACER_UPDATE_GOLDEN"):
        path.write_text(said, encoding="utf-8")
    assert said == path.read_text(encoding="utf-8")


def seen(scene: Scene, size: tuple[int, int], keys: Sequence[str] = ()) -> str:
    """The screen of a scene."""

    async def play() -> str:
        async with staged(scene, size) as (app, pilot):
            await pilot.press(*keys)
            await pilot.pause()
            return screen_text(app)

    return asyncio.run(play())


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x60"])
@pytest.mark.parametrize("name", SCENES)
def test_a_screen_is_as_on_record(name: str, size: tuple[int, int]) -> None:
    """Small and large, on cards, on emulated ones, on none, and after its end."""
    columns, rows = size
    check(f"{name}-{columns}x{rows}", seen(SCENES[name], size))


def test_the_keys_are_as_on_record() -> None:
    """The help fits into a small terminal."""
    check("help-80x24", seen(SCENES["two-gpus"], SMALL, ["question_mark"]))


def test_the_menu_is_as_on_record() -> None:
    """What is too long is cut, not wrapped."""

    async def play() -> str:
        menu = Menu(ENTRIES)
        async with menu.run_test(size=SMALL) as pilot:
            await pilot.pause()
            await pilot.pause()
            return screen_text(menu)

    check("menu-80x24", asyncio.run(play()))


@pytest.mark.parametrize("name", SCENES)
def test_nothing_is_wider_than_the_screen(name: str) -> None:
    """No line of a small screen is cut but those of the log."""
    panels = seen(SCENES[name], SMALL).partition("\n Log ")[0]
    assert "…" not in panels
    assert max(len(line) for line in panels.splitlines()) <= SMALL[0]
