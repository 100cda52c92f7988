"""Seconds of one token and of one physical batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What something takes.

    Attributes:
        decode_s: for one token of one slot.
        prefill_s: for one full physical batch.
    """

    decode_s: float = 0.0
    prefill_s: float = 0.0

    def __add__(self, other: Times) -> Times:
        return Times(
            decode_s=self.decode_s + other.decode_s,
            prefill_s=self.prefill_s + other.prefill_s,
        )

    def __sub__(self, other: Times) -> Times:
        return Times(
            decode_s=self.decode_s - other.decode_s,
            prefill_s=self.prefill_s - other.prefill_s,
        )
