"""The panels above the log, as text: devices, the host, requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from placer.dashboard import figures
from placer.dashboard.device_panel import devices_text
from placer.dashboard.figures import LABEL, PLAIN, QUIET, WARM, Unit
from placer.dashboard.request_panel import requests_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.dashboard.reading import Reading
    from placer.dashboard.room import History, Room
    from placer.serve import Running


def panels_text(
    running: Running, reading: Reading, history: History, room: Room
) -> Text:
    """All panels, one below the other."""
    parts: list[Text] = [
        *_titled("GPUs", devices_text(running, reading, room), room),
        *_titled("System", host_text(reading, room), room),
        *_titled("Requests", requests_text(reading, history, room), room),
    ]
    return Text("\n").join(parts)


def _titled(title: str, lines: Sequence[Text], room: Room) -> list[Text]:
    """With a title and a blank line where there is room for them."""
    if not room.is_roomy:
        return list(lines)
    rule = "─" * (room.width - len(title) - 3)
    return [Text.assemble((f" {title} ", PLAIN), (rule, QUIET)), *lines, Text()]


def host_text(reading: Reading, room: Room) -> list[Text]:
    """The processor, memory and swap; the container, where there is one."""
    host = reading.host
    unit = Unit.of([host.total_bytes])
    cpu = figures.whole(host.cpu_percent, " %")
    memory = (
        f"{unit.text(host.used_bytes)} of {unit.text(host.total_bytes)} {unit.name}"
    )
    swap = "none"
    if host.swap_total_bytes:
        used, total = host.swap_used_bytes, host.swap_total_bytes
        swap = f"{unit.text(used)} of {unit.text(total)}"
    own = "" if host.process_bytes is None else f" {unit.name}"
    own = f"{unit.text(host.process_bytes)}{own}"
    pairs = [("CPU", cpu), ("RAM", memory), ("swap", swap), ("server", own)]
    lines = [_pairs(pairs)]
    if room.is_roomy:
        width = room.width - 20
        share = host.used_bytes / host.total_bytes
        lines = [
            _pairs(pairs),
            _barred("CPU", (host.cpu_percent or 0) / 100, width),
            _barred("RAM", share, width),
        ]
    return [*lines, *_container(reading)]


def _pairs(pairs: Sequence[tuple[str, str]]) -> Text:
    text = Text()
    for label, value in pairs:
        text.append(f" {label} ", LABEL).append(f"{value}  ", PLAIN)
    return text


def _barred(label: str, share: float, width: int) -> Text:
    text = Text(f" {label:<8}", LABEL)
    return text.append_text(figures.share_bar(width, share)).append(
        f"  {share * 100:3.0f} %", PLAIN
    )


def _container(reading: Reading) -> list[Text]:
    found = reading.container
    if found is None:
        return []
    limit = found.limit_bytes
    unit = Unit.of([found.memory_bytes or 0, limit or 0])
    memory = f"{unit.text(found.memory_bytes)} of {unit.text(limit)} {unit.name}"
    is_near = limit and (found.memory_bytes or 0) > 0.95 * limit
    text = _pairs([("container CPU", figures.whole(found.cpu_percent, " %"))])
    text.append(" memory ", LABEL).append(memory, WARM if is_near else PLAIN)
    return [text]
