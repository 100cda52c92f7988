"""llama-server in containers: the image's, on the daemon that ``DOCKER_HOST`` names."""

from __future__ import annotations

from placer.engine.docker.container import ContainerRunner
from placer.engine.docker.daemon import connect
from placer.engine.docker.engine import ContainerEngine, open_engine
from placer.engine.docker.owner import Role, remove_orphans, remove_own
from placer.engine.docker.serving import (
    ServedContainer,
    find_container,
    serve_container,
    served_containers,
)

__all__ = [
    "ContainerEngine",
    "ContainerRunner",
    "Role",
    "ServedContainer",
    "connect",
    "find_container",
    "open_engine",
    "remove_orphans",
    "remove_own",
    "serve_container",
    "served_containers",
]
