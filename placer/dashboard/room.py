"""What the panels have beside a reading: what was before it, and room to draw in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.dashboard.reading import Reading

KEPT = 600


@dataclass(slots=True)
class History:
    """What was read before, as far as curves show it.

    Attributes:
        prompt: tokens a second, oldest first.
        decode: likewise.
    """

    prompt: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))
    decode: deque[float | None] = field(default_factory=lambda: deque(maxlen=KEPT))

    def take(self, reading: Reading) -> None:
        """One reading more."""
        self.prompt.append(reading.speeds.prompt)
        self.decode.append(reading.speeds.decode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is to draw in.

    Attributes:
        width: in cells.
        is_roomy: whether there is height to spare.
    """

    width: int
    is_roomy: bool = False
