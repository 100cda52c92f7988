"""What a record stands for: the process or the container, if it still runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from placer.errors import MachineError

if TYPE_CHECKING:
    from placer.serve.contained import ContainedProcess
    from placer.serve.running import Running
    from placer.serve.state import StateFolder


class Background(Protocol):
    """A server in the background."""

    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""

    def stop(self) -> int | None:
        """End it and all that it started."""


def background(running: Running) -> Background | None:
    """What runs, or did; None where nothing is left of it.

    Raises:
        MachineError: it is a container, and no daemon answers.
    """
    if running.container is not None:
        return _contained(running, running.container)
    if running.pid is None or running.pid_created is None:
        return None
    from placer.engine.detached import DetachedProcess

    return DetachedProcess(
        pid=running.pid,
        created=running.pid_created,
        argv=running.argv,
        base_url=running.base_url,
        log_path=running.log,
    )


def _contained(running: Running, container_id: str) -> ContainedProcess | None:
    from placer.engine.docker import find_container
    from placer.serve.contained import ContainedProcess

    container = find_container(container_id)
    if container is None:
        return None
    return ContainedProcess(
        container=container, base_url=running.base_url, log_path=running.log
    )


def is_alive(running: Running) -> bool:
    """Whether the server of a record runs.

    Raises:
        MachineError: it is a container, and no daemon answers.
    """
    found = background(running)
    return found is not None and found.exit_code() is None


def seems_alive(running: Running) -> bool:
    """The same; one in a container whose daemon is silent does not seem so."""
    try:
        return is_alive(running)
    except MachineError:
        return False


def end(profile: str, state: StateFolder) -> bool:
    """Nothing of a profile's server runs or is on record; whether it did run.

    What it said stays, as the profile's kept log.

    Raises:
        MachineError: it is a container, and no daemon answers; its record stays.
    """
    running = state.server(profile)
    found = None if running is None else background(running)
    ran = found is not None and found.exit_code() is None
    if found is not None:
        found.stop()
    state.retire(profile)
    return ran
