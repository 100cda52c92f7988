"""The verbs, wired: what the command does and what ``import placer`` offers."""

from placer.app.verbs import (
    Inspection,
    Optimized,
    Plan,
    Rated,
    Request,
    Where,
    apply,
    devices,
    estimate,
    inspect,
    optimize,
    plan,
    report,
    undo,
)
from placer.app.write import Applied

__all__ = [
    "Applied",
    "Inspection",
    "Optimized",
    "Plan",
    "Rated",
    "Request",
    "Where",
    "apply",
    "devices",
    "estimate",
    "inspect",
    "optimize",
    "plan",
    "report",
    "undo",
]
