"""Which placements are worth trying, best first; pure, no engine."""

from placer.plan.costs import SlotCosts, slot_costs
from placer.plan.family import Family, Spread, families
from placer.plan.plan import Candidate, plan_candidates

__all__ = [
    "Candidate",
    "Family",
    "SlotCosts",
    "Spread",
    "families",
    "plan_candidates",
    "slot_costs",
]
