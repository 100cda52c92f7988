"""Programs that nobody has read, where they can do no harm."""

from __future__ import annotations

from placer.sandbox.contract import Ended, Finished, Limits, Sandbox
from placer.sandbox.finding import find_sandbox

__all__ = ["Ended", "Finished", "Limits", "Sandbox", "find_sandbox"]
