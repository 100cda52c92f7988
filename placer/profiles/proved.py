"""What the comment of a profile says of its proof, as figures.

The facts are written by a search (:mod:`placer.app.write`). They are text in a file
that anybody may edit, so a figure that cannot be read is one that is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.units import from_mib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.profiles.profile import Profile

_MIB = re.compile(r"(\d{1,9})MiB")
_RATE = re.compile(r"\d{1,9}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedDevice:
    """One device under the proof.

    Attributes:
        name: as the engine calls it.
        free_bytes: what was free before the launch; None for not known.
        peak_bytes: the most that the server held; None for not seen.
    """

    name: str
    free_bytes: int | None
    peak_bytes: int | None

    @property
    def left_bytes(self) -> int | None:
        """What was left; None where nobody saw."""
        if self.free_bytes is None or self.peak_bytes is None:
            return None
        return self.free_bytes - self.peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A placement that was seen to fit.

    Attributes:
        day: when, ``2026-11-23``.
        proof: how far the launch was taken: ``load``, ``prompt`` or ``full``.
        engine: what its build calls itself.
        strategy: its letter, ``"C"``.
        model: the fingerprint of the model's header.
        emulated: whether the devices were not real.
        devices: in the engine's order.
        prompt_tokens_per_s: of the whole context that is read.
        decode_tokens_per_s: of one slot that writes.
        study: where the search was recorded, below the folder of records.
    """

    day: str
    proof: str | None
    engine: str | None
    strategy: str | None
    model: str | None
    emulated: bool
    devices: tuple[ProvedDevice, ...]
    prompt_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    study: str | None


def read_proved(profile: Profile) -> Proved | None:
    """The proof that stands beside a profile, whether it still holds or not."""
    facts = profile.provenance
    if facts is None or "proved" not in facts:
        return None
    return Proved(
        day=facts["proved"],
        proof=facts.get("proof"),
        engine=facts.get("engine"),
        strategy=facts.get("strategy"),
        model=facts.get("model"),
        emulated=facts.get("emulated") == "yes",
        devices=_devices(facts),
        prompt_tokens_per_s=_rate(facts.get("prompt_tokens_per_s")),
        decode_tokens_per_s=_rate(facts.get("decode_tokens_per_s")),
        study=facts.get("study"),
    )


def _devices(facts: Mapping[str, str]) -> tuple[ProvedDevice, ...]:
    names = [key.removeprefix("free.") for key in facts if key.startswith("free.")]
    return tuple(
        ProvedDevice(
            name=name,
            free_bytes=_size(facts[f"free.{name}"]),
            peak_bytes=_size(facts.get(f"peak.{name}")),
        )
        for name in names
    )


def _size(text: str | None) -> int | None:
    match = _MIB.fullmatch(text or "")
    return None if match is None else from_mib(int(match[1]))


def _rate(text: str | None) -> float | None:
    return float(text) if text and _RATE.fullmatch(text) else None
