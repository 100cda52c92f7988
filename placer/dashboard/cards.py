"""The devices of a running server, by whoever knows them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.machine.sensors import NOTHING, CardReading, read_cards

if TYPE_CHECKING:
    from pathlib import Path

    from placer.serve import Running, StateFolder


def cards_of(
    running: Running, state: StateFolder, pid: int | None
) -> tuple[CardReading, ...]:
    """A reading a device of the record; an unknown one for what nobody can read."""
    if not running.devices:
        return ()
    if running.emulated:
        return _emulated(running, state.folder(running.profile) / "gpus" / "state")
    return read_cards(running.listed(), pid)


def _emulated(running: Running, path: Path) -> tuple[CardReading, ...]:
    """By the machine's own file, where each device has the number of its name.

    The machine is this server's alone, so all processes on it are its own.
    """
    from placer.testing.state import StateFile

    try:
        with closing(StateFile(path)) as file:
            totals, used = file.capacity_bytes(), file.used_bytes()
            lives = [usage.used_bytes for usage in file.usage() if usage.running]
    except (OSError, InputError):
        return (NOTHING,) * len(running.devices)
    numbers = [int(d.name.removeprefix("Vulkan")) for d in running.devices]
    return tuple(
        CardReading(
            used_bytes=used[n],
            total_bytes=totals[n],
            held_bytes=sum(live[n] for live in lives),
        )
        for n in numbers
    )
