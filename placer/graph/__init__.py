"""Compute graphs as the engine builds, cuts and allocates them; nothing is computed."""

from placer.graph.backends import rules_of
from placer.graph.build import Layout, UnknownGraphError
from placer.graph.families import graph_of
from placer.graph.reserve import GraphOf, Reserve, reserve

__all__ = [
    "GraphOf",
    "Layout",
    "Reserve",
    "UnknownGraphError",
    "graph_of",
    "reserve",
    "rules_of",
]
