"""Memory of devices as bars: weights, context, compute, free, to scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from placer.units import mib

if TYPE_CHECKING:
    from placer.machine import Device
    from placer.memory import MemoryBreakdown

PARTS = (
    ("weights", "█", "cyan"),
    ("context", "▓", "magenta"),
    ("compute", "▒", "yellow"),
)
FREE = ("free", "·", "bright_black")
OVER = ("over", "!", "bold red")
WIDTH = 28


def memory_bar(held: MemoryBreakdown, free_bytes: int, width: int = WIDTH) -> Text:
    """One bar; what does not fit stands in red beyond its end."""
    sizes = (held.model_bytes, held.context_bytes or 0, held.compute_bytes or 0)
    scale = max(free_bytes, sum(sizes), 1)
    text = Text()
    done = drawn = 0
    room = round(free_bytes / scale * width)
    for (_, mark, style), size in zip(PARTS, sizes, strict=True):
        done += size
        until = round(done / scale * width)
        fitting = max(min(until, room) - drawn, 0)
        text.append(mark * fitting, style)
        text.append(OVER[1] * (until - drawn - fitting), OVER[2])
        drawn = until
    text.append(FREE[1] * (width - drawn), FREE[2])
    return text


def legend() -> Text:
    """What the marks of a bar mean."""
    text = Text()
    for name, mark, style in (*PARTS, FREE):
        text.append(mark, style).append(f" {name}  ", "dim")
    return text


def device_table(
    devices: tuple[Device, ...],
    rows: tuple[MemoryBreakdown, ...],
    headroom: tuple[int, ...],
) -> Table:
    """A row a device: the bar, the triple in MiB, what is left."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("device")
    table.add_column("", no_wrap=True)
    for name in ("weights", "context", "compute", "left"):
        table.add_column(name, justify="right")
    for device, held, left in zip(devices, rows, headroom, strict=True):
        table.add_row(
            device.name,
            memory_bar(held, device.free_bytes),
            mib_text(held.model_bytes),
            mib_text(held.context_bytes),
            mib_text(held.compute_bytes),
            Text(mib_text(left), "bold red" if left < 0 else "green"),
        )
    return table


def mib_text(n_bytes: int | None) -> str:
    """MiB with thousands, a dash for what is not known."""
    return "-" if n_bytes is None else f"{mib(n_bytes):,.0f}"
