"""A dashboard on a screen that nobody sees, for tests and for its picture."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from placer.dashboard.app import Dashboard
from placer.dashboard.scripted import ScriptedSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.app import App
    from textual.pilot import Pilot

    from placer.dashboard.scripted import Scene

# Nothing is read any more while it is looked at.
NEVER_S = 3600.0
SIZE = (80, 24)


@asynccontextmanager
async def staged(
    scene: Scene, size: tuple[int, int] = SIZE
) -> AsyncIterator[tuple[Dashboard, Pilot[str]]]:
    """The dashboard after all of a scene, and who presses its keys."""
    first, *others = scene.readings
    source = ScriptedSource(replace(scene, readings=(first,)))
    app = Dashboard(source, period_s=NEVER_S)
    async with app.run_test(size=size) as pilot:
        await app.first_shown.wait()
        for reading in others:
            app.take(reading)
        await pilot.pause()
        yield app, pilot


def screen_text(app: App[str]) -> str:
    """What is on the screen, without colours, a line a row."""
    strips = app.screen._compositor.render_strips(app.size)  # noqa: SLF001
    return "".join(f"{strip.text.rstrip()}\n" for strip in strips)
