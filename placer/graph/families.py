"""Which graph an architecture has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph.build import UnknownGraphError
from placer.graph.standard import Recipe, standard

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.graph import Graph

RECIPES = {
    "llama": Recipe(),
    "qwen3": Recipe(qk_norm="heads"),
    "qwen3moe": Recipe(qk_norm="heads"),
}


def graph_of(build: Build) -> Graph:
    """The graph of the model.

    Raises:
        UnknownGraphError: placer has none for its architecture.
    """
    recipe = RECIPES.get(build.arch)
    if recipe is None:
        raise UnknownGraphError(f"placer has no graph for architecture {build.arch!r}")
    return standard(build, recipe)
