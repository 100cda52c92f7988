"""Devices: memory against the plan and the total, and how hard they work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from placer.dashboard import figures
from placer.dashboard.figures import BAD, LABEL, PLAIN, QUIET, UNKNOWN, WARM, Unit

if TYPE_CHECKING:
    from placer.dashboard.reading import Reading
    from placer.dashboard.room import Room
    from placer.machine.sensors import CardReading
    from placer.serve import Running, ServedDevice

NO_GPU = " No GPU: the model runs on the CPU alone."
HOT_C = 83
# Numbers beside the bar: server, plan, used, total, busy, power, temperature, link.
BESIDE = 63


def devices_text(running: Running, reading: Reading, room: Room) -> list[Text]:
    """A line a device under a line of titles; more where there is room."""
    if not running.devices:
        return [Text(NO_GPU, QUIET)]
    unit = Unit.of([device.total_bytes for device in running.devices])
    pairs = list(zip(running.devices, reading.cards, strict=True))
    if room.is_roomy:
        return [line for pair in pairs for line in _card(*pair, unit, room.width)]
    name = max(len(device.name) for device in running.devices)
    bar = max(room.width - BESIDE - name, 4)
    return [_head(name, bar, unit), *(_row(*p, unit, (name, bar)) for p in pairs)]


def _head(name: int, bar: int, unit: Unit) -> Text:
    titles = f" {'GPU':<{name}} {f'VRAM, {unit.name}':<{bar}} "
    titles += f"{'server':>6} {'plan':>6} {'used':>6} {'total':>6}"
    return Text(titles + f"  {'busy':>5} {'power W':>9} {'°C':>3} {'link':>6}", LABEL)


def _row(
    device: ServedDevice, card: CardReading, unit: Unit, widths: tuple[int, int]
) -> Text:
    name, bar = widths
    text = Text(f" {device.name:<{name}} ", PLAIN)
    text.append_text(_bar(device, card, bar))
    text.append(f" {unit.text(card.held_bytes):>6}", _held_style(device, card))
    for size in (device.planned_bytes, card.used_bytes, _total(device, card)):
        text.append(f" {unit.text(size):>6}", PLAIN)
    text.append(f"  {figures.whole(card.busy_percent, ' %'):>5}", PLAIN)
    text.append(f" {_power(card):>9}", PLAIN)
    text.append(f" {figures.whole(card.temperature_c):>3}", _heat_style(card))
    return text.append(f" {_link(card):>6}", PLAIN)


def _card(
    device: ServedDevice, card: CardReading, unit: Unit, width: int
) -> list[Text]:
    """One device where there is room for its name."""
    total, used = _total(device, card), card.used_bytes
    first = Text.assemble((f" {device.name}", f"bold {PLAIN}"))
    first.append(f"  {device.description}", LABEL)
    bar = Text(" ").append_text(_bar(device, card, width - 26))
    bar.append(f"  {unit.text(used)} of {unit.text(total)} {unit.name}", PLAIN)
    memory = Text(" server ", LABEL)
    memory.append(unit.text(card.held_bytes), _held_style(device, card))
    memory.append("   plan ", LABEL).append(unit.text(device.planned_bytes), PLAIN)
    free = None if used is None else max(total - used, 0)
    for label, value in (("others", _others(card)), ("free", free)):
        memory.append(f"   {label} ", LABEL).append(unit.text(value), PLAIN)
    work = Text(" busy ", LABEL)
    work.append(figures.whole(card.busy_percent, " %"), PLAIN)
    work.append("   power ", LABEL).append(f"{_power(card)} W", PLAIN)
    work.append("   ").append(
        figures.whole(card.temperature_c, " °C"), _heat_style(card)
    )
    work.append("   PCIe link ", LABEL).append(_link(card), PLAIN)
    return [first, bar, memory, work]


def _bar(device: ServedDevice, card: CardReading, width: int) -> Text:
    """Of the server and of others; what nobody tells apart stands as theirs."""
    total = _total(device, card) or 1
    used, held = card.used_bytes or 0, card.held_bytes or 0
    planned = device.planned_bytes
    return figures.memory_bar(
        width,
        held=held / total,
        others=max(used - held, 0) / total,
        plan=None if planned is None else planned / total,
    )


def _total(device: ServedDevice, card: CardReading) -> int:
    return card.total_bytes or device.total_bytes


def _others(card: CardReading) -> int | None:
    if card.used_bytes is None or card.held_bytes is None:
        return None
    return max(card.used_bytes - card.held_bytes, 0)


def _held_style(device: ServedDevice, card: CardReading) -> str:
    """More than the plan said is worth a look."""
    planned, held = device.planned_bytes, card.held_bytes
    is_over = planned is not None and held is not None and held > planned
    return WARM if is_over else PLAIN


def _heat_style(card: CardReading) -> str:
    return BAD if (card.temperature_c or 0) >= HOT_C else PLAIN


def _power(card: CardReading) -> str:
    if card.power_w is None:
        return UNKNOWN
    return f"{card.power_w:.0f}/{figures.whole(card.power_limit_w)}"


def _link(card: CardReading) -> str:
    if card.link_generation is None or card.link_width is None:
        return UNKNOWN
    return f"{card.link_generation} x{card.link_width}"
