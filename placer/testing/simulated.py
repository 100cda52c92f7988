"""Searches of made-up models on made-up machines, many of them, always the same.

Capacities, overheads that nobody reports, wrong compute buffers and noisy readings of
memory are drawn at random. What really fits is arithmetic, so that every answer can be
held to the best that there is.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.errors import SearchError
from placer.placement import Workload
from placer.search.evidence import slack_bytes
from placer.search.planning import WORTH
from placer.testing.fake_search import Arithmetic, fake_search, planning_of
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.plan import Choice
    from placer.search.search import Found

# What is worth a launch, counted from the better of the two.
EXCESS = WORTH / (1 - WORTH) + 1e-9
# Dry runs until planner and engine agree on the very best.
ROUNDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """One search, and the best that it could have found.

    Attributes:
        truth: what really fits.
        found: what the search found, None where it says that nothing fits.
        best: the best that really fits, None where nothing does.
        excess: by what share the found one costs more than the best.
    """

    truth: Arithmetic
    found: Found | None
    best: Choice | None
    excess: float

    @property
    def is_right(self) -> bool:
        """Whether nothing that fits is better by what counts.

        Or by what the packer itself says that it may have missed.
        """
        if self.found is None or self.best is None:
            return self.found is None and self.best is None
        placement = self.found.trial.probe.placement
        fits = self.truth.first_refusal(placement) is None
        return fits and self.excess <= max(EXCESS, self.best.gap)

    @property
    def launches(self) -> int:
        """How many the search made."""
        return 0 if self.found is None else len(self.found.trials)


def random_truth(seed: int) -> Arithmetic:
    """A model of 6 to 16 layers on one to three devices that hide up to a tenth.

    Three of four have experts, some of which have to be on the CPU.
    """
    rng = random.Random(seed)  # noqa: S311 - the same cases every time
    is_moe = rng.random() < 0.75
    kinds = [
        FakeLayer(
            dense_kib=rng.randint(20, 90) * KIB * (1 if is_moe else 4),
            expert_kib=rng.randint(100, 900) * KIB if is_moe and number else 0,
            kv_heads=rng.choice([1, 2]),
        )
        for number in range(rng.choice([2, 2, 3]))
    ]
    layers = sorted(
        (rng.choice(kinds[1:]) for _ in range(rng.randint(5, 15))), key=kinds.index
    )
    layers = [kinds[0], *layers]
    shape = fake_shape(layers, output_kib=rng.randint(100, 500) * KIB)
    n_devices = rng.choice([1, 2, 2, 2, 3])
    total = shape.weight_bytes + GIB
    shares = [rng.uniform(0.5, 1.0) for _ in range(n_devices)]
    room = rng.uniform(0.35, 0.9) if is_moe else rng.uniform(1.1, 1.6)
    free = [int(total * room * share / sum(shares)) for share in shares]
    return Arithmetic(
        shape=shape,
        workload=Workload(
            ctx=rng.choice([8192, 32768, 65536]), parallel=1, kv_unified=False
        ),
        machine=fake_machine(free),
        hidden_bytes=tuple(int(n * rng.uniform(0, 0.1)) for n in free),
        compute_factor=rng.uniform(0.8, 1.3),
        noise_bytes=2 * MIB,
    )


def simulate(truth: Arithmetic, folder: Path, **asked: Any) -> Simulated:
    """Search, and look for the best with what the devices really have.

    Args:
        truth: what really fits.
        folder: where a journal would lie.
        asked: further keywords of ``fake_search``.
    """
    search = fake_search(truth, folder, **asked)
    try:
        found = search.run()
    except SearchError:
        found = None
    best = best_of(truth)
    excess = 0.0
    if found is not None and best is not None and search.cost is not None:
        excess = search.cost / best.cost - 1.0
    return Simulated(truth=truth, found=found, best=best, excess=excess)


def best_of(truth: Arithmetic) -> Choice | None:
    """The best placement in what the devices really have, by the planner.

    Less what a reading of it may be off by: nobody can tell that apart.
    """
    capacities = [
        device.free_bytes - hidden - slack_bytes(device)
        for device, hidden in zip(
            truth.machine.devices, truth.hidden_bytes, strict=True
        )
    ]
    planning = planning_of(truth)
    for _ in range(ROUNDS):
        best = planning.best(capacities)
        if best is None or planning.has_asked(best.placement):
            break
        planning.ask(best.placement)
    return best


def bisected(truth: Arithmetic) -> tuple[int, float]:
    """What plain bisection does: how much of what is free is used is halved.

    Returns:
        launches, and by what share the answer costs more than the best; infinite where
        it finds none.
    """
    planning, best = planning_of(truth), best_of(truth)
    free = [device.free_bytes for device in truth.machine.devices]
    steps = max(n // unit for n, unit in zip(free, planning.unit_bytes, strict=True))
    low, high, launches, least = 0, steps, 0, math.inf
    while high - low > 1:
        middle = (low + high) // 2
        choice = planning.best([n * middle // steps for n in free])
        launches += choice is not None
        if choice is not None and truth.first_refusal(choice.placement) is None:
            low, least = middle, min(least, choice.cost)
        elif choice is None:
            low = middle
        else:
            high = middle
    return launches, math.inf if best is None else least / best.cost - 1
