"""Several models at once: who may be resident together, and the router's own file."""

from __future__ import annotations

from placer.router.divisions import Division, divisions
from placer.router.preset import ROUTERS_OWN, Preset, options_of, preset_text
from placer.router.residents import Pool, Resident, left_bytes, most_at_once, pools_of

__all__ = [
    "ROUTERS_OWN",
    "Division",
    "Pool",
    "Preset",
    "Resident",
    "divisions",
    "left_bytes",
    "most_at_once",
    "options_of",
    "pools_of",
    "preset_text",
]
