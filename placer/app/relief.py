"""What would help where a placement does not fit: computed, never guessed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placer.memory import MemoryEstimate
    from placer.placement import Workload

SMALLEST_UBATCH = 128
SMALLEST_CTX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """One change to what is asked, and what it frees on the device that is short."""

    args: tuple[str, ...]
    freed_bytes: int


def reliefs(
    workload: Workload, formula: Callable[[Workload], MemoryEstimate], device: int
) -> tuple[Relief, ...]:
    """Changes that free memory on a device, by formula, the most first.

    Args:
        workload: what is asked.
        formula: what the placement holds when that is asked.
        device: the one that is short.

    The cache at 8 bits, half the physical batch, half the context: one at a time.
    """

    def held_bytes(asked: Workload) -> int:
        return formula(asked).devices[device].total_bytes

    before = held_bytes(workload)
    found = [
        Relief(args=args, freed_bytes=before - held_bytes(replace(workload, **changes)))
        for args, changes in _changes(workload)
    ]
    useful = [relief for relief in found if relief.freed_bytes > 0]
    return tuple(sorted(useful, key=lambda relief: -relief.freed_bytes))


def _changes(workload: Workload) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    wide = ("f32", "f16", "bf16")
    if workload.type_k in wide and workload.flash_attn != "off":
        changes: dict[str, Any] = {"type_k": "q8_0", "type_v": "q8_0"}
        yield ("-ctk", "q8_0", "-ctv", "q8_0"), changes
    half = workload.n_ubatch // 2
    if half >= SMALLEST_UBATCH:
        yield ("-ub", str(half)), {"ubatch": half}
    ctx = workload.ctx // 2
    if ctx >= SMALLEST_CTX:
        yield ("--ctx", str(ctx)), {"ctx": ctx}
