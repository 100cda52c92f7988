"""Places GGUF models on GPUs for llama.cpp, and proves it.

The verbs of the command, as a library::

    import placer

    where = placer.Where(emulate=(400, 300))
    request = placer.Request(values={"ctx": 4096})
    found = placer.optimize("glm-q8", where, request)
    print(found.study.found.trial.probe.args)

What a machine that is not there would hold needs neither engine nor GPU::

    there = placer.Where(machine="rtx-4090+rtx-5070-ti")
    print(placer.estimate("model.gguf", there, request).rated.headroom_bytes)

Every verb returns a value, prints nothing, and raises only ``placer.PlacerError``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
    MachineError,
    PlacerError,
    SearchError,
)

VERSION = "0.1.0"

if TYPE_CHECKING:
    from placer.app import (
        Applied,
        Companion,
        Estimated,
        Explained,
        Inspection,
        Judged,
        LedgerRead,
        Optimized,
        Plan,
        PlanOptions,
        Rated,
        Relief,
        Request,
        Seen,
        Served,
        ServeOptions,
        Stopped,
        StudyOptions,
        Tradeoff,
        Verification,
        Verified,
        VerifyOptions,
        Where,
        apply,
        devices,
        estimate,
        inspect,
        judge,
        ledger,
        optimize,
        plan,
        report,
        serve,
        status,
        stop,
        undo,
        verify,
    )

__all__ = [
    "Applied",
    "Companion",
    "Estimated",
    "Explained",
    "InputError",
    "Inspection",
    "InterruptedSearchError",
    "JournalError",
    "Judged",
    "LedgerRead",
    "MachineError",
    "Optimized",
    "PlacerError",
    "Plan",
    "PlanOptions",
    "Rated",
    "Relief",
    "Request",
    "SearchError",
    "Seen",
    "ServeOptions",
    "Served",
    "Stopped",
    "StudyOptions",
    "Tradeoff",
    "Verification",
    "Verified",
    "VerifyOptions",
    "Where",
    "apply",
    "devices",
    "estimate",
    "inspect",
    "judge",
    "ledger",
    "optimize",
    "plan",
    "report",
    "serve",
    "status",
    "stop",
    "undo",
    "verify",
]


class _Package(ModuleType):
    """Keeps ``placer.plan``, ``placer.report`` and ``placer.serve`` verbs.

    Python would hang the subpackage of that name over them when it is imported.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    """The verbs and what they take, though none is imported yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """The verbs, imported when they are first asked for: ``--help`` needs none."""
    if name in __all__:
        return getattr(import_module("placer.app"), name)
    raise AttributeError(f"module 'placer' has no attribute {name!r}")
