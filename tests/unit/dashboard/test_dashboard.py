from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.dashboard import scripted
from placer.dashboard.app import Dashboard
from placer.dashboard.scripted import Scene, ScriptedSource
from placer.dashboard.stage import screen_text, staged
from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.dashboard.reading import Reading

IDLE, BUSY = scripted.no_gpu(), scripted.two_gpus()
LINES = tuple(f"0.00.{n:03}.000 I srv  say: line {n}" for n in range(200))
LONG = replace(IDLE, readings=(replace(IDLE.readings[0], lines=LINES),))


def answer_to(keys: Sequence[str], scene: Scene = IDLE) -> str | None:
    """What the dashboard ends with after these keys; None while it goes on."""

    async def play() -> str | None:
        async with staged(scene) as (app, pilot):
            await pilot.press(*keys)
            await pilot.pause()
            return app.return_value

    return asyncio.run(play())


def seen_after(*steps: Sequence[str], scene: Scene = LONG) -> list[str]:
    """What is on the screen after each step, which is keys."""

    async def play() -> list[str]:
        async with staged(scene) as (app, pilot):
            seen = []
            for keys in steps:
                await pilot.press(*keys)
                await pilot.pause()
                seen.append(screen_text(app))
            return seen

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("q", "stop"),
        ("r", "menu"),
        ("d", "detach"),
        ("ctrl+c", "detach"),
    ],
)
def test_an_idle_server_is_left_at_once(key: str, answer: str) -> None:
    """Each key of leaving says what is to become of the server."""
    assert answer_to([key]) == answer


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["q", "y"], "stop"),
        (["r", "enter"], "menu"),
        (["q", "n", "r", "escape"], None),
        (["d"], "detach"),
    ],
)
def test_requests_are_not_cut_off_unasked(keys: list[str], answer: str | None) -> None:
    """Stopping a server that answers somebody takes a yes; detaching does not."""
    assert answer_to(keys, BUSY) == answer


def test_the_question_says_how_many() -> None:
    """Who is asked knows what would be cut off."""
    assert "1 request is being answered." in seen_after(["q"], scene=BUSY)[0]


def test_help_opens_and_closes() -> None:
    """The keys are one key away, and the same key leaves them; so does Esc."""
    keys = (["question_mark"], ["question_mark"], ["h"], ["escape"])
    said = ["stop the server and exit" in seen for seen in seen_after(*keys)]
    assert said == [True, False, True, False]


def test_the_log_follows_its_end() -> None:
    """The newest line is in sight until somebody scrolls."""
    (said,) = seen_after([])
    assert "line 199" in said
    assert "paused" not in said


@pytest.mark.parametrize("key", ["pageup", "space"])
def test_who_scrolls_or_pauses_reads_on_where_he_is(key: str) -> None:
    """New lines then move nothing, and are counted."""

    async def play() -> str:
        async with staged(LONG) as (app, pilot):
            await pilot.press(key)
            await pilot.pause()
            before = app.log_view.scroll_offset.y
            app.take(replace(LONG.readings[0], lines=("one more", "and another")))
            await pilot.pause()
            assert app.log_view.scroll_offset.y == before
            return screen_text(app)

    assert "paused, 2 new" in asyncio.run(play())


def test_the_end_is_followed_again() -> None:
    """Each way up pauses, each way back to the end follows it."""
    keys = (["home"], ["end"], ["space"], ["space"], ["up"], ["down"])
    seen = seen_after(*keys)
    assert ["paused" in said for said in seen] == [True, False] * 3
    assert "line 0\n" in seen[0]
    assert all("line 199" in said for said in seen[1::2])


def test_page_down_moves_a_page() -> None:
    """From the top a page down is further than a line."""

    async def play() -> int:
        async with staged(LONG) as (app, pilot):
            await pilot.press("home", "pagedown")
            await pilot.pause()
            return app.log_view.scroll_offset.y

    assert asyncio.run(play()) > 5


def test_find_goes_to_the_last_place_and_round() -> None:
    """The newest match first, then up with N, down with n, and over the end."""
    keys = (["slash", *"line 19", "enter"], ["N"], ["n"], ["n"])
    places = ["11 of 11", "10 of 11", "11 of 11", "1 of 11"]
    for said, place in zip(seen_after(*keys), places, strict=True):
        assert f"find: line 19, {place}" in said
        assert "say: line 19" in said


def test_what_is_nowhere_is_said_to_be() -> None:
    """A search without a match moves nothing and says so."""
    (said,) = seen_after(["slash", *"zebra", "enter"])
    assert "find: zebra, nowhere" in said
    assert "line 199" in said


def test_a_filter_shows_what_has_the_text() -> None:
    """It acts while it is typed, and Esc ends it."""
    typed, entered, cleared = seen_after(["f", *"line 7"], ["enter"], ["escape"])
    for said in (typed, entered):
        assert "line 79" in said
        assert "line 80" not in said
    assert "line 199" in cleared


def test_keys_are_letters_while_a_text_is_typed() -> None:
    """A q in a filter stops nothing."""
    assert answer_to(["f", "q", "r", "d"]) is None


def test_levels_go_from_all_to_errors_and_round() -> None:
    """Each press leaves out one level more."""
    first = tuple(f"0.00.001.000 {said}" for said in ("D a", "I b", "W c", "E d"))
    lines = (*first, "of the error")
    scene = replace(IDLE, readings=(replace(IDLE.readings[0], lines=lines),))
    info, warnings, errors, every = seen_after(*["l"] * 4, scene=scene)
    assert [" D a" in said for said in (info, every)] == [False, True]
    assert [" I b" in said for said in (info, warnings)] == [True, False]
    assert [" W c" in said for said in (warnings, errors)] == [True, False]
    assert "of the error" in errors


def test_tab_goes_from_the_log_to_the_panels_and_back() -> None:
    """Both scroll by the keys once they have the focus."""

    async def play() -> list[str | None]:
        async with staged(LONG) as (app, pilot):
            found = []
            for _ in range(3):
                found.append(None if app.focused is None else app.focused.id)
                await pilot.press("tab")
            return found

    assert asyncio.run(play()) == ["log", "panels", "log"]


def test_a_wider_terminal_has_two_columns() -> None:
    """The log stands beside the panels there, and below them again when narrowed."""

    async def play() -> list[int]:
        async with staged(BUSY) as (app, pilot):
            found = []
            for size in ((80, 24), (200, 60), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
                found.append(app.log_view.region.x)
            return found

    assert asyncio.run(play()) == [0, 84, 0]


def test_the_end_stays_in_sight_when_the_terminal_grows() -> None:
    """Resizing is no scrolling."""

    async def play() -> str:
        async with staged(LONG) as (_, pilot):
            for size in ((200, 60), (80, 24)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
                await pilot.pause()
            return screen_text(pilot.app)

    said = asyncio.run(play())
    assert "line 199" in said
    assert "paused" not in said


class HangingSource(ScriptedSource):
    """A server that does not answer until it is let."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.may_answer = threading.Event()

    def read(self) -> Reading:
        self.may_answer.wait(20)
        return super().read()


def test_a_server_that_hangs_does_not_hang_the_dashboard() -> None:
    """Keys act while an answer is out, and leaving does not wait for it."""
    source = HangingSource(IDLE)

    async def play() -> str | None:
        app = Dashboard(source)
        async with app.run_test() as pilot:
            await pilot.press("question_mark", "escape", "d")
        return app.return_value

    began_s = time.monotonic()
    try:
        assert asyncio.run(play()) == "detach"
        assert time.monotonic() - began_s < 10
        assert not source.is_closed
    finally:
        source.may_answer.set()


def test_the_source_is_let_go_of() -> None:
    """Nothing stays open behind the dashboard."""
    source = ScriptedSource(IDLE)

    async def play() -> None:
        app = Dashboard(source, period_s=0.01)
        async with app.run_test() as pilot:
            await app.first_shown.wait()
            await pilot.press("d")

    asyncio.run(play())
    assert source.is_closed


class BrokenSource(ScriptedSource):
    """A source with a fault."""

    def read(self) -> Reading:
        raise MachineError("the reader broke")


def test_a_fault_of_the_reader_is_not_hidden() -> None:
    """A dashboard that shows nothing new any more would be a lie."""

    async def play() -> None:
        app = Dashboard(BrokenSource(IDLE))
        async with app.run_test() as pilot:
            for _ in range(500):
                if app._exception is not None:
                    break
                await pilot.pause(0.01)

    with pytest.raises(MachineError, match="the reader broke"):
        asyncio.run(play())


def test_the_dead_are_said_to_be_dead() -> None:
    """The verdict and what to do stand above what was last known."""
    (said,) = seen_after([], scene=scripted.dead())
    assert "ended" in said
    assert "OOM_IN_USE, on CUDA1" in said
    assert "leave CUDA1 more free" in said
