"""Which placements are worth trying, best first; pure, no engine."""

from placer.plan.candidate import (
    Candidate,
    experts_kept,
    headroom_bytes,
    strategy_of,
)
from placer.plan.costs import SlotCosts, slot_costs
from placer.plan.goal import Goal
from placer.plan.plan import Choice, Planner

__all__ = [
    "Candidate",
    "Choice",
    "Goal",
    "Planner",
    "SlotCosts",
    "experts_kept",
    "headroom_bytes",
    "slot_costs",
    "strategy_of",
]
