"""Which graph an architecture has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph import (
    delta_net,
    hyper,
    kda,
    lightning,
    mamba,
    mla,
    msa,
    own,
    pools,
    recipes,
    sparse,
)
from placer.graph.build import UnknownGraphError

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph

GRAPHS: dict[str, Callable[[Build], Graph]] = {
    **recipes.GRAPHS,
    **own.GRAPHS,
    **delta_net.GRAPHS,
    **hyper.GRAPHS,
    **kda.GRAPHS,
    **lightning.GRAPHS,
    **mamba.GRAPHS,
    **mla.GRAPHS,
    **msa.GRAPHS,
    **pools.GRAPHS,
    **sparse.GRAPHS,
}


def graph_of(build: Build) -> Graph:
    """The graph of the model.

    Raises:
        UnknownGraphError: placer has none for its architecture.
    """
    make = GRAPHS.get(build.arch)
    if make is None:
        raise UnknownGraphError(f"placer has no graph for architecture {build.arch!r}")
    return make(build)
