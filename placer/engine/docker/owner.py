"""Whose a container is: labels, and the containers of a placer that is gone."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from placer.engine.docker.daemon import GONE, connect, docker_errors, is_likely
from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker import DockerClient
    from docker.models.containers import Container

PLACER_LABEL = "placer"
ROLE_LABEL = "placer.role"
OWNER_LABEL = "placer.owner"
# A number that was given to another process is told by when that one began; the clock
# by which it is told may have been set a little since.
CLOCK_S = 2.0


class Role(StrEnum):
    """What a container is for."""

    SEARCH = "search"  # it ends with the command that started it
    SERVE = "serve"  # it outlives that


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that started a container.

    Attributes:
        pid: its id.
        created: when it began, seconds since the epoch.
        boot: of the machine, the one of its life in which that was.
        host: the machine, and the namespace that the id is of.
    """

    pid: int
    created: float
    boot: str
    host: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.created:.2f}:{self.boot}:{self.host}"

    @classmethod
    def of_label(cls, text: str) -> Self | None:
        """The owner that a label tells; None where it is none of ours."""
        try:
            pid, created, boot, host = text.split(":", 3)
            return cls(pid=int(pid), created=float(created), boot=boot, host=host)
        except ValueError:
            return None

    def is_gone(self) -> bool:
        """Whether it is known not to run any more; False of another machine's."""
        here = this_process()
        if self.host != here.host:
            return False
        return self.boot != here.boot or not _runs(self.pid, self.created)


@cache
def this_process() -> Owner:
    """The command that runs."""
    import psutil

    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = ""
    with suppress(OSError):
        namespace = Path("/proc/self/ns/pid").readlink().name
    return Owner(
        pid=os.getpid(),
        created=psutil.Process().create_time(),
        boot=boot.read_text().strip() if boot.exists() else "",
        host=f"{platform.node()}/{namespace}",
    )


def labels(role: Role) -> dict[str, str]:
    """What marks a container of this process."""
    return {PLACER_LABEL: "1", ROLE_LABEL: role, OWNER_LABEL: str(this_process())}


def labelled(client: DockerClient, *roles: Role) -> list[Container]:
    """All containers of these roles, whoever started them, ended ones included.

    Raises:
        MachineError: the daemon does not answer.
    """
    with docker_errors("the Docker daemon does not list its containers"):
        found = client.containers.list(
            all=True, ignore_removed=True, filters={"label": f"{PLACER_LABEL}=1"}
        )
    return [c for c in found if c.labels.get(ROLE_LABEL) in roles]


def remove(container: Container) -> None:
    """It is gone, whatever it did; one that is gone already is no error.

    Raises:
        MachineError: the daemon does not remove it.
    """
    from docker.errors import APIError

    with docker_errors(f"container {container.name} cannot be removed"):
        try:
            container.remove(force=True, v=True)
        except APIError as error:
            if error.status_code not in GONE:
                raise


def remove_orphans(roles: Sequence[Role | str] = (Role.SEARCH,)) -> tuple[str, ...]:
    """Remove the containers of commands that are gone, after a kill -9 for one.

    Those of commands that run are left alone, and of other machines all.

    Returns:
        Their names; none where no daemon answers.
    """
    if not is_likely():
        return ()
    removed = []
    with suppress(MachineError):
        for container in labelled(connect(), *(Role(role) for role in roles)):
            owner = Owner.of_label(container.labels.get(OWNER_LABEL, ""))
            if owner is not None and owner.is_gone():
                remove(container)
                removed.append(str(container.name))
    return tuple(removed)


def remove_own(client: DockerClient) -> None:
    """Remove what this process started to end with it, and did not end.

    Raises:
        MachineError: the daemon does not answer.
    """
    mine = str(this_process())
    for container in labelled(client, Role.SEARCH):
        if container.labels.get(OWNER_LABEL) == mine:
            remove(container)


def _runs(pid: int, created: float) -> bool:
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - created) < CLOCK_S
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
