"""``--measure`` -> what is measured, how it is compared, and what it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.experiment.measures import Kind, Measure, UnitOfAnalysis

if TYPE_CHECKING:
    from collections.abc import Sequence

PASS = re.compile(r"pass@([1-9]\d{0,3})")
# Behind the name of a measure: leave it out where it cannot be had.
WHERE_IT_CAN = "?"
EXAMPLE = "pass@1,tokens/s,vram"
DECODE, PREFILL, TTFT = "tokens/s", "prompt-tokens/s", "ttft"
VRAM, JOULES, TRUNCATED = "vram", "joules/token", "truncated"
KL, AGREEMENT, PPL = "kl", "agreement", "ppl"
# Repeats where none are asked for: a clock has to be read five times, bytes are seen
# to repeat themselves, and problems are counted and not launches.
CLOCKED, RESERVED, COUNTED = 5, 2, 1
# What requests sample by makes no difference to these.
OF_SERVER = frozenset({VRAM, KL, AGREEMENT, PPL})


class Needs(Enum):
    """What has to be done for a measure."""

    SUITE = "a suite of problems"
    PROBE = "a prompt that is read and answered"
    MEMORY = "what devices hold"
    PREDICTIONS = "what the model expects"
    PERPLEXITY = "llama-perplexity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A measure that is asked for.

    Attributes:
        measure: what the statistics know of it.
        needs: what has to be done for it.
        k: of pass@k.
        is_optional: whether it is left out where it cannot be had.
    """

    measure: Measure
    needs: Needs
    k: int | None = None
    is_optional: bool = False

    @property
    def name(self) -> str:
        """As in ``--measure``."""
        return self.measure.name

    @property
    def repeats(self) -> int:
        """How many it takes at least to see something."""
        if self.measure.is_by_problem:
            return COUNTED
        return RESERVED if self.measure.is_exact else CLOCKED


def _rate(name: str, unit: str, *, higher_is_better: bool) -> Measure:
    return Measure(
        name=name, unit=unit, higher_is_better=higher_is_better, kind=Kind.RATE
    )


def _counted(
    name: str, unit: str, kind: Kind, *, higher_is_better: bool = False
) -> Measure:
    return Measure(
        name=name,
        unit=unit,
        higher_is_better=higher_is_better,
        kind=kind,
        unit_of_analysis=UnitOfAnalysis.PROBLEM,
    )


_VRAM = Measure(
    name=VRAM, unit="bytes", higher_is_better=False, kind=Kind.COST, is_exact=True
)
# What is counted by problem: places of a text for kl and agreement, parts of it for
# ppl, whose ratios then multiply up to that of the whole.
MEASURES = {
    measure.name: (measure, needs)
    for measure, needs in (
        (_rate(DECODE, "tokens/s", higher_is_better=True), Needs.PROBE),
        (_rate(PREFILL, "tokens/s", higher_is_better=True), Needs.PROBE),
        (_rate(TTFT, "s", higher_is_better=False), Needs.PROBE),
        (_rate(JOULES, "J", higher_is_better=False), Needs.PROBE),
        (_VRAM, Needs.MEMORY),
        (_counted(TRUNCATED, "", Kind.SHARE), Needs.SUITE),
        (_counted(KL, "nats", Kind.COST), Needs.PREDICTIONS),
        (
            _counted(AGREEMENT, "", Kind.SHARE, higher_is_better=True),
            Needs.PREDICTIONS,
        ),
        (_counted(PPL, "", Kind.RATE), Needs.PERPLEXITY),
    )
}


def parse_measures(text: str) -> tuple[Wanted, ...]:
    """What ``pass@1,tokens/s,vram`` asks for, the first being what counts most.

    Raises:
        InputError: there is no such measure, or none is named.
    """
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError("--measure names nothing", hint=f"write --measure {EXAMPLE}")
    found = {one.name: one for one in map(_wanted, names)}
    return tuple(found.values())


def usual_repeats(wanted: Sequence[Wanted]) -> int:
    """As many as the measure that takes the most of them."""
    return max(one.repeats for one in wanted)


def needs_of(wanted: Sequence[Wanted]) -> frozenset[Needs]:
    """All that has to be done."""
    return frozenset(one.needs for one in wanted)


def _wanted(text: str) -> Wanted:
    name = text.removesuffix(WHERE_IT_CAN)
    is_optional = name != text
    if of_k := PASS.fullmatch(name):
        return Wanted(
            measure=_counted(name, "", Kind.SHARE, higher_is_better=True),
            needs=Needs.SUITE,
            k=int(of_k[1]),
            is_optional=is_optional,
        )
    if name not in MEASURES:
        known = ", ".join(("pass@K", *MEASURES))
        raise InputError(f"{name!r} is nothing to measure", hint=f"there are {known}")
    measure, needs = MEASURES[name]
    return Wanted(measure=measure, needs=needs, is_optional=is_optional)
