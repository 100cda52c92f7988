"""Requests: slots, how full they are, and how fast they read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from placer.dashboard import figures
from placer.dashboard.figures import (
    CALM,
    HELD,
    LABEL,
    PLAIN,
    QUIET,
    UNKNOWN,
    WARM,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.dashboard.reading import Reading
    from placer.dashboard.room import History, Room
    from placer.engine.live_stats import Slot
    from placer.engine.timings import Timings

STYLES = {"idle": QUIET, "prompt": WARM, "decode": CALM}
FEW, MANY = 4, 16
ROWS = 5
NEARLY_FULL = 0.9


def requests_text(reading: Reading, history: History, room: Room) -> list[Text]:
    """Slots, then both speeds with their curves, then the last request."""
    speeds = reading.speeds
    rows = ROWS if room.is_roomy else 1
    return [
        *_slots(reading, room),
        *_speed("prompt", speeds.prompt, history.prompt, (room.width, rows)),
        *_speed("decode", speeds.decode, history.decode, (room.width, rows)),
        _last(reading.last),
    ]


def _slots(reading: Reading, room: Room) -> list[Text]:
    slots = None if reading.server is None else reading.server.slots
    if slots is None:
        return [Text(f" slots  {UNKNOWN}", QUIET)]
    most = MANY if room.is_roomy else FEW
    shown = list(slots)
    if len(slots) > most:
        at_work = [slot for slot in slots if slot.is_processing]
        idle = [slot for slot in slots if not slot.is_processing]
        shown = [*at_work, *idle][: most - 1]
    bar = max(room.width - 59, 8)
    head = f" slot  {'does':<7} {'context':<{bar}}       {'tokens':>19}"
    waiting = reading.server.counters if reading.server is not None else None
    text = Text(head, LABEL)
    if waiting is not None and waiting.deferred:
        text.append(f"   {waiting.deferred} waiting", WARM)
    lines = [text, *(_slot(slot, bar) for slot in shown)]
    return [*lines, *_more(slots, shown)]


def _more(slots: Sequence[Slot], shown: Sequence[Slot]) -> list[Text]:
    left = len(slots) - len(shown)
    if not left:
        return []
    at_work = sum(s.is_processing for s in slots) - sum(s.is_processing for s in shown)
    doing = f", {at_work} of them at work" if at_work else ", idle"
    return [Text(f"       and {left} more{doing}", QUIET)]


def _slot(slot: Slot, bar: int) -> Text:
    share = 0.0 if not slot.ctx else (slot.tokens or 0) / slot.ctx
    style = WARM if share >= NEARLY_FULL else HELD
    text = Text(f" {slot.number:>4}  ", PLAIN)
    text.append(f"{slot.word:<7} ", STYLES[slot.word])
    text.append_text(figures.share_bar(bar, share, style))
    known = UNKNOWN if slot.tokens is None else f"{share * 100:.0f} %"
    tokens = f"{figures.whole(slot.tokens)} of {slot.ctx:,}"
    text.append(f" {known:>5} {tokens:>19}", PLAIN)
    if slot.is_processing:
        text.append(f"  {_doing(slot)}", LABEL)
    return text


def _doing(slot: Slot) -> str:
    if slot.word == "prompt":
        return f"{slot.prompt_tokens:,} read"
    return f"{slot.decoded_tokens:,} written"


def _speed(
    name: str,
    now: float | None,
    values: Sequence[float | None],
    size: tuple[int, int],
) -> list[Text]:
    """The number beside the lowest row of its curve."""
    width, rows = size
    label = f" {name:<7}{figures.per_second(now):>8} tokens/s  "
    *above, lowest = figures.curve(values, width - len(label) - 1, rows)
    style = STYLES[name]
    lines = [Text(" " * len(label)).append(row, style) for row in above]
    text = Text(f" {name:<7}", LABEL)
    text.append(f"{figures.per_second(now):>8}", PLAIN).append(" tokens/s  ", LABEL)
    return [*lines, text.append(lowest, style)]


def _last(timings: Timings | None) -> Text:
    text = Text(f" {'last':<7} ", LABEL)
    if timings is None:
        return text.append(f"{UNKNOWN}  no request has ended yet", QUIET)
    first = figures.seconds_text(timings.prompt_s)
    read = figures.per_second(timings.prompt_tokens_per_s)
    wrote = figures.per_second(timings.decoded_tokens_per_s)
    text.append(f"first token {first}", PLAIN)
    text.append(f"  {timings.prompt_tokens:,} read at {read}/s", LABEL)
    return text.append(f"  {timings.decoded_tokens:,} written at {wrote}/s", LABEL)
