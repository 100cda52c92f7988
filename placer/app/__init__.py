"""The verbs, wired: what the command does and what ``import placer`` offers."""

from placer.app.verbs import (
    Applied,
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
