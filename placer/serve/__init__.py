"""What runs: the record of a server that outlives the command that started it."""

from __future__ import annotations

from placer.serve.running import Running, ServedDevice
from placer.serve.state import StateFolder, default_state

__all__ = ["Running", "ServedDevice", "StateFolder", "default_state"]
