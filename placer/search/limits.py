"""Why a device takes no more: what it refused, or what it was seen to have left."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.plan import Choice
    from placer.search.evidence import Evidence
    from placer.search.planning import Planning

# Steps of the smallest size among which the next useful one is looked for.
REACH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One device under the answer.

    Attributes:
        device: its name.
        needs_bytes: what the answer asks of it.
        left_bytes: what it had left under the answer; None where nobody could say.
        step_bytes: the least more of it that would make anything better; None where
            none of the next steps would.
        refused_bytes: the least that it was seen to refuse; None where it never did.
    """

    device: str
    needs_bytes: int
    left_bytes: int | None
    step_bytes: int | None
    refused_bytes: int | None

    def record(self) -> dict[str, Any]:
        """The limit as the journal keeps it."""
        return asdict(self)


def limits_of(
    names: Sequence[str],
    evidence: Evidence,
    planning: Planning,
    needs: Sequence[int],
    cost: float,
) -> tuple[Limit, ...]:
    """A limit for each device, under the answer that needs so much and costs so much.

    Args:
        names: of the devices.
        evidence: what launches taught of each.
        planning: says what would be better with more.
        needs: what the answer asks of each device.
        cost: the answer's.
    """
    found = []
    for index, device in enumerate(evidence.devices):
        step = next_step(evidence, planning, index, cost)
        asked = 0 if step is None else planning.needs(step.placement)[index]
        measured = device.measured_bytes
        found.append(
            Limit(
                device=names[index],
                needs_bytes=needs[index],
                left_bytes=None if measured is None else measured - needs[index],
                step_bytes=None if step is None else max(asked - needs[index], 0),
                refused_bytes=device.refused_bytes,
            )
        )
    return tuple(found)


def next_step(
    evidence: Evidence, planning: Planning, index: int, cost: float
) -> Choice | None:
    """What would be better with a little more of one device, None if nothing would."""
    believed = evidence.believed
    more = [*believed]
    more[index] += REACH * planning.unit_bytes[index]
    return planning.step(believed, more, cost)
