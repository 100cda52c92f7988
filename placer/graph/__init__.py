"""Compute graphs as the engine builds, cuts and allocates them; nothing is computed."""

from placer.graph.backends import rules_of
from placer.graph.build import Layout, UnknownGraphError
from placer.graph.reserve import Reserve, reserve

__all__ = ["Layout", "Reserve", "UnknownGraphError", "reserve", "rules_of"]
