"""Which graph an architecture has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from placer.graph.build import UnknownGraphError

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph

# Modules with a ``GRAPHS`` by architecture, those of the most models first. One is
# imported when those before it do not know the architecture: it costs an estimate a
# tenth of its time to import them all.
MODULES = (
    "recipes",
    "own",
    "delta_net",
    "mla",
    "gemma",
    "mamba",
    "sparse",
    "kda",
    "lightning",
    "hyper",
    "msa",
    "pools",
    "qwen4exp",
)


def graph_of(build: Build) -> Graph:
    """The graph of the model.

    Raises:
        UnknownGraphError: placer has none for its architecture.
    """
    for name in MODULES:
        module = import_module(f"placer.graph.{name}")
        graphs: dict[str, Callable[[Build], Graph]] = module.GRAPHS
        if build.arch in graphs:
            return graphs[build.arch](build)
    raise UnknownGraphError(f"placer has no graph for architecture {build.arch!r}")
