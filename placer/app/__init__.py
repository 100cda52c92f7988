"""The verbs, wired: what the command does and what ``import placer`` offers.

A verb is imported when it is first asked for: ``estimate`` needs no engine and no
search.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placer.app.added import Wanted, new
    from placer.app.companions import Companion
    from placer.app.frontier import Explained, Tradeoff
    from placer.app.judged import Judged, judge
    from placer.app.planned import Plan, PlanOptions, plan
    from placer.app.profiled import Profiles, profiles
    from placer.app.rated import Estimated, Rated, estimate
    from placer.app.relief import Relief
    from placer.app.served import Seen, Stopped, status, stop
    from placer.app.serving import Served, ServeOptions, serve
    from placer.app.study import StudyOptions
    from placer.app.tuned import Tuned, tune
    from placer.app.tuning import TuneOptions
    from placer.app.verbs import (
        Inspection,
        LedgerRead,
        Optimized,
        apply,
        devices,
        inspect,
        ledger,
        optimize,
        report,
        undo,
    )
    from placer.app.verified import Verification, Verified, VerifyOptions, verify
    from placer.app.where import Request, Where
    from placer.app.write import Applied

__all__ = [
    "Applied",
    "Companion",
    "Estimated",
    "Explained",
    "Inspection",
    "Judged",
    "LedgerRead",
    "Optimized",
    "Plan",
    "PlanOptions",
    "Profiles",
    "Rated",
    "Relief",
    "Request",
    "Seen",
    "ServeOptions",
    "Served",
    "Stopped",
    "StudyOptions",
    "Tradeoff",
    "TuneOptions",
    "Tuned",
    "Verification",
    "Verified",
    "VerifyOptions",
    "Wanted",
    "Where",
    "apply",
    "devices",
    "estimate",
    "inspect",
    "judge",
    "ledger",
    "new",
    "optimize",
    "plan",
    "profiles",
    "report",
    "serve",
    "status",
    "stop",
    "tune",
    "undo",
    "verify",
]
HOMES = {
    "Applied": "write",
    "Companion": "companions",
    "Estimated": "rated",
    "Explained": "frontier",
    "Judged": "judged",
    "Plan": "planned",
    "PlanOptions": "planned",
    "Profiles": "profiled",
    "Rated": "rated",
    "Relief": "relief",
    "Request": "where",
    "Seen": "served",
    "ServeOptions": "serving",
    "Served": "serving",
    "Stopped": "served",
    "StudyOptions": "study",
    "Tradeoff": "frontier",
    "TuneOptions": "tuning",
    "Tuned": "tuned",
    "Verification": "verified",
    "Verified": "verified",
    "VerifyOptions": "verified",
    "Wanted": "added",
    "Where": "where",
    "estimate": "rated",
    "judge": "judged",
    "new": "added",
    "plan": "planned",
    "profiles": "profiled",
    "serve": "serving",
    "status": "served",
    "stop": "served",
    "tune": "tuned",
    "verify": "verified",
}


def __getattr__(name: str) -> Any:
    """The verb or the value, from the module that has it."""
    if name not in __all__:
        raise AttributeError(f"module 'placer.app' has no attribute {name!r}")
    return getattr(import_module(f"placer.app.{HOMES.get(name, 'verbs')}"), name)
