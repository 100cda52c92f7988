"""What a container takes of the processor and of the memory, while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from placer.errors import MachineError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReading:
    """A container at one moment; None for what is not known yet.

    Attributes:
        cpu_percent: of one core, since the reading before: 200 for two cores.
        memory_bytes: that it holds, without files that may be given back.
        limit_bytes: that it may hold.
    """

    cpu_percent: float | None
    memory_bytes: int | None
    limit_bytes: int | None


class ContainerStats:
    """Asks the daemon about one container, time and again.

    Args:
        container_id: of a container that may have ended.
    """

    def __init__(self, container_id: str) -> None:
        self._id = container_id
        self._before: dict[str, Any] = {}

    def read(self) -> ContainerReading | None:
        """It now; None where it has ended or no daemon answers."""
        from placer.engine.docker import connect
        from placer.engine.docker.daemon import docker_errors

        try:
            client = connect()
            with docker_errors("the container cannot be read"):
                # One sample: the daemon would wait a second for another.
                found = client.api.stats(self._id, stream=False, one_shot=True)
        except MachineError:
            return None
        if not found.get("memory_stats"):
            return None
        before, self._before = self._before, found
        return read_stats(found, before)


def read_stats(found: dict[str, Any], before: dict[str, Any]) -> ContainerReading:
    """A reading of two samples as the daemon gives them, the first may be empty."""
    memory = found["memory_stats"]
    used = memory.get("usage")
    cache = (memory.get("stats") or {}).get("inactive_file", 0)
    return ContainerReading(
        cpu_percent=_cpu_percent(found.get("cpu_stats"), before.get("cpu_stats")),
        memory_bytes=None if used is None else max(used - cache, 0),
        limit_bytes=memory.get("limit"),
    )


def _cpu_percent(
    now: dict[str, Any] | None, before: dict[str, Any] | None
) -> float | None:
    """Its share of what all cores did meanwhile, as one core's."""
    if not now or not before:
        return None
    whole = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    own = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    if whole <= 0:
        return None
    return float(100 * own / whole * (now.get("online_cpus") or 1))
