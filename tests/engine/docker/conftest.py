"""A Docker daemon of these tests' own, with the engine's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.errors import MachineError
from placer.testing.docker import DockerDaemon, import_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from docker import DockerClient


@pytest.fixture(scope="package")
def client(engine: Path) -> Iterator[DockerClient]:
    """A daemon, which is ``DOCKER_HOST`` of these tests."""
    try:
        daemon = DockerDaemon()
    except MachineError as error:
        pytest.skip(str(error))
    with daemon, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.host)
        client = daemon.client()
        yield client
        client.close()


@pytest.fixture(scope="package")
def image(client: DockerClient, engine: Path) -> str:
    """The engine's image."""
    return import_engine(client, engine)


@pytest.fixture(autouse=True)
def _nothing_is_left(client: DockerClient) -> Iterator[None]:
    """Every test leaves no container behind."""
    yield
    left = client.containers.list(all=True)
    for container in left:
        container.remove(force=True)
    assert [container.name for container in left] == []
