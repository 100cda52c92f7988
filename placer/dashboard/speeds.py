"""Tokens a second, out of what slots and counters say from one moment to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.dashboard.reading import Speeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.live_stats import Counters, ServerStats, Slot


class Speedometer:
    """Follows one server.

    While a slot works its own count tells; of requests that came and went between two
    looks the server's counters do, where it has some.
    """

    def __init__(self) -> None:
        self._prompt, self._decode = _Meter(), _Meter()
        self._counters: Counters | None = None

    def read(self, stats: ServerStats, at_s: float) -> Speeds:
        """The speeds at a moment, by a clock that only goes forward."""
        slots = stats.slots
        prompt = decode = None
        if slots is not None:
            prompt = self._prompt.read(_of(slots, "prompt"), at_s)
            decode = self._decode.read(_of(slots, "decode"), at_s)
        ended = self._ended(stats.counters)
        return Speeds(
            prompt=prompt or _first(ended.prompt, prompt),
            decode=decode or _first(ended.decode, decode),
        )

    def _ended(self, now: Counters | None) -> Speeds:
        """Of what the server has counted since the last look."""
        before, self._counters = self._counters, now
        if now is None or before is None:
            return Speeds()
        return Speeds(
            prompt=_rate(
                now.prompt_tokens - before.prompt_tokens, now.prompt_s - before.prompt_s
            ),
            decode=_rate(
                now.decoded_tokens - before.decoded_tokens,
                now.decode_s - before.decode_s,
            ),
        )


Counts = Mapping[tuple[int, int | None], int]


@dataclass(slots=True)
class _Meter:
    """One kind of work; counts are tokens by slot and task."""

    at_s: float | None = None
    counts: Counts = field(default_factory=dict)
    moved: int = 0
    speed: float | None = 0.0

    def read(self, counts: Counts, at_s: float) -> float | None:
        """Tokens a second since a count last moved.

        Slots count a batch at a time, and a batch may take longer than a look: no
        speed is known before the first is done, and the last one's holds until the
        next should have been.
        """
        moved = sum(max(n - self.counts.get(key, 0), 0) for key, n in counts.items())
        since_s = 0.0 if self.at_s is None else at_s - self.at_s
        if not counts:
            self.speed = 0.0
        elif moved and since_s > 0:
            self.speed, self.moved = moved / since_s, moved
        elif not self.counts:
            self.speed = None
        elif self.speed and since_s > 0:
            self.speed = min(self.speed, self.moved / since_s)
        if moved or not counts or self.at_s is None:
            self.at_s = at_s
        self.counts = counts
        return self.speed


def _of(slots: Sequence[Slot], word: str) -> Counts:
    return {
        (slot.number, slot.task): (
            slot.prompt_tokens if word == "prompt" else slot.decoded_tokens
        )
        for slot in slots
        if slot.word == word
    }


def _rate(tokens: float, seconds: float) -> float | None:
    return tokens / seconds if tokens > 0 and seconds > 0 else None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
