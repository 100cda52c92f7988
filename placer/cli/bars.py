"""Memory of devices as bars: weights, context, compute, overhead, free, to scale.

All bars of a picture have one scale: the largest device is as long as there is room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app import Rated
    from placer.machine import Device, Machine
    from placer.memory import MemoryBreakdown

PARTS = (
    ("weights", "█", "cyan"),
    ("context", "▓", "magenta"),
    ("compute", "▒", "yellow"),
    ("beside", "▚", "blue"),
    ("overhead", "░", "bright_black"),
)
FREE = ("free", "·", "green")
USED = ("in use", " ", "")
OVER = ("too much", "!", "bold red")
# Between two columns of a table; the shortest bar worth drawing, and the longest.
SPACING = 2
SHORTEST, LONGEST = 8, 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one device holds, part by part; None is not known, and drawn as nothing."""

    model_bytes: int
    context_bytes: int | None
    compute_bytes: int | None
    beside_bytes: int
    overhead_bytes: int

    @property
    def parts(self) -> tuple[int, ...]:
        """The parts in the order of ``PARTS``."""
        return (
            self.model_bytes,
            self.context_bytes or 0,
            self.compute_bytes or 0,
            self.beside_bytes,
            self.overhead_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a table shows: a row a device, and one for the CPU where it is known.

    What is free less all that is held is what is left.

    Attributes:
        devices: in the machine's order.
        held: one a device.
        left_bytes: one a device; negative where it does not fit.
        host: what the CPU holds.
        host_free_bytes: of its memory, None where not known.
    """

    devices: tuple[Device, ...]
    held: tuple[Held, ...]
    left_bytes: tuple[int, ...]
    host: Held | None = None
    host_free_bytes: int | None = None

    @property
    def scale_bytes(self) -> int:
        """The longest bar."""
        pairs = zip(self.devices, self.held, strict=True)
        return max(1, *(max(d.total_bytes, sum(h.parts)) for d, h in pairs))


def held_of(held: MemoryBreakdown, *, beside: int = 0, overhead: int = 0) -> Held:
    """The engine's triple with what is loaded beside it and the overhead."""
    return Held(
        model_bytes=held.model_bytes,
        context_bytes=held.context_bytes,
        compute_bytes=held.compute_bytes,
        beside_bytes=beside,
        overhead_bytes=overhead,
    )


def picture_of(rated: Rated, machine: Machine) -> Picture:
    """A placement on a machine."""
    best, beside = rated.best, rated.companions
    return Picture(
        devices=machine.devices,
        held=tuple(
            held_of(
                held,
                beside=sum(c.devices[i].total_bytes for c in beside),
                overhead=rated.overhead_bytes(machine)[i],
            )
            for i, held in enumerate(best.devices)
        ),
        left_bytes=rated.headroom_bytes,
        host=held_of(best.host, beside=sum(c.host.total_bytes for c in beside)),
        host_free_bytes=None if machine.is_unified else machine.host_free_bytes,
    )


def memory_bar(held: Held, device: Device, bytes_per_mark: float) -> Text:
    """One bar: what is held, what is left, what was in use before.

    What does not fit stands in red beyond the device's end.
    """
    text = Text()
    done = drawn = 0
    room = round(device.free_bytes / bytes_per_mark)
    for (_, mark, style), size in zip(PARTS, held.parts, strict=True):
        done += size
        until = round(done / bytes_per_mark)
        fitting = max(min(until, room) - drawn, 0)
        text.append(mark * fitting, style)
        text.append(OVER[1] * (until - drawn - fitting), OVER[2])
        drawn = until
    text.append(FREE[1] * (room - drawn), FREE[2])
    used = round(device.total_bytes / bytes_per_mark) - max(room, drawn)
    text.append(USED[1] * max(used, 0))
    return text


def legend(picture: Picture) -> Text:
    """What the marks mean, of the parts that any device has."""
    text = Text()
    for index, (name, mark, style) in enumerate(PARTS):
        if any(held.parts[index] for held in picture.held):
            text.append(mark, style).append(f" {name}  ", "dim")
    return text.append(FREE[1], FREE[2]).append(f" {FREE[0]}", "dim")


def device_table(picture: Picture, columns: int) -> Table:
    """A row a device: its bar, its parts in MiB, what is left.

    Args:
        picture: what is shown.
        columns: of the terminal, or of the pipe; the bar goes where they are few.
    """
    rows = [*picture.held] if picture.host is None else [*picture.held, picture.host]
    extra = [i for i in (3, 4) if any(held.parts[i] for held in rows)]
    heads = ["free", "weights", "context", "compute"]
    heads += [*(PARTS[i][0] for i in extra), "left"]
    cells = _cells(picture, extra)
    width = columns - _columns_of([["MiB", *heads], *cells]) - SPACING
    width = min(width, LONGEST) if width >= SHORTEST else 0
    table = Table(box=None, pad_edge=False, padding=(0, SPACING // 2))
    table.add_column("MiB", no_wrap=True)
    if width:
        table.add_column("", no_wrap=True, width=width)
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    for (name, *sizes, left), bar in zip(cells, _bars(picture, width), strict=True):
        style = "bold red" if left.startswith("-") else "green"
        table.add_row(name, *([bar] if width else []), *sizes, Text(left, style))
    return table


def _cells(picture: Picture, extra: Sequence[int]) -> list[list[str]]:
    """The text of each row: name, what is free, parts, what is left."""
    cells = [
        [
            device.name,
            mib_text(device.free_bytes),
            *_sizes(held, extra),
            mib_text(left),
        ]
        for device, held, left in zip(
            picture.devices, picture.held, picture.left_bytes, strict=True
        )
    ]
    if picture.host is not None:
        free, held = picture.host_free_bytes, picture.host
        left = "" if free is None else mib_text(free - sum(held.parts))
        cells.append(["CPU", mib_text(free), *_sizes(held, extra), left])
    return cells


def _bars(picture: Picture, width: int) -> list[Text]:
    """The bar of each row; the CPU has none."""
    per_mark = picture.scale_bytes / max(width, 1)
    pairs = zip(picture.held, picture.devices, strict=True)
    bars = [memory_bar(held, device, per_mark) for held, device in pairs]
    return bars if picture.host is None else [*bars, Text()]


def _columns_of(rows: Sequence[Sequence[str]]) -> int:
    """What the columns of text take, with the room between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + SPACING * (len(widths) - 1)


def _sizes(held: Held, extra: Sequence[int]) -> list[str]:
    """The parts of a row, in MiB."""
    known = (held.model_bytes, held.context_bytes, held.compute_bytes)
    return [mib_text(size) for size in known] + [
        mib_text(held.parts[index]) for index in extra
    ]


def mib_text(n_bytes: int | None) -> str:
    """MiB with thousands, a dash for what is not known."""
    return "-" if n_bytes is None else f"{mib(n_bytes):,.0f}"
