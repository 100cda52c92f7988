"""Containers that outlive the command that started them, and how they are found."""

from __future__ import annotations

import fcntl
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from placer.engine.docker.container import (
    append,
    copy_log,
    end,
    ending,
    note_oom,
    server_pid,
)
from placer.engine.docker.daemon import connect, daemon_of, docker_errors, is_likely
from placer.engine.docker.engine import LOOPBACK, ContainerEngine, start
from placer.engine.docker.owner import Role, labelled, remove
from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from docker.models.containers import Container

PROFILE_LABEL = "placer.profile"
HOME_LABEL = "placer.home"
PORT_LABEL = "placer.port"
# A server that answers somebody gets a little longer than one that is measured.
STOP_TIMEOUT_S = 10.0
# Another command copies the log: it is looked at so often whether it still does.
POLL_S = 1.0
RUNNING = ("created", "running", "paused", "restarting")


class ServedContainer:
    """A llama-server in a container that nobody need wait for.

    Attributes:
        id: of the container.
        image: its name.
        argv: what follows the image.
        profile: whose server it is.
        config_home: what stands in for the user's settings, a path of its own.
        base_url: where it answers.
    """

    def __init__(self, container: Container, *, tells_pids: bool) -> None:
        self._container = container
        self._tells_pids = tells_pids
        self._is_removed = False
        config, marks = container.attrs["Config"], container.labels
        self.id = str(container.id)
        self.image = str(config["Image"])
        self.argv = tuple(config.get("Cmd") or ())
        self.profile = marks.get(PROFILE_LABEL, "")
        self.config_home = Path(marks.get(HOME_LABEL, ""))
        self.base_url = f"http://{LOOPBACK}:{marks.get(PORT_LABEL, '')}"

    @property
    def pid(self) -> int | None:
        """Of llama-server on this host; None once it ended or where that is not known.

        Raises:
            MachineError: the daemon does not answer.
        """
        if not self._reload() or not self._tells_pids:
            return None
        return server_pid(self._container)

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs.

        Raises:
            MachineError: the daemon does not answer, or the container is gone.
        """
        if not self._reload():
            raise MachineError(f"container {self.id[:12]} is gone")
        if self._container.status in RUNNING:
            return None
        return ending(self._container)[0]

    def oom_killed(self) -> bool:
        """Whether the kernel ended it for want of the host's memory."""
        if not self._reload() or self._container.status in RUNNING:
            return False
        return ending(self._container)[1]

    def copy_log(self, path: Path) -> None:
        """Append to a file what it said and the file does not hold yet.

        Nothing is done while another command does it.
        """
        with _alone(path) as is_mine, docker_errors("the log cannot be read"):
            if is_mine:
                copy_log(self._container, path)
                if self.oom_killed():
                    note_oom(path)

    @contextmanager
    def follow_log(self, path: Path) -> Iterator[None]:
        """Do so as it speaks, for as long as this lasts or the container does.

        Raises:
            MachineError: the container is gone.
        """
        over = threading.Event()
        with docker_errors("the log cannot be read"):
            said = self._container.logs(stream=True, follow=True)
        copier = threading.Thread(
            target=_append_alone, args=[said, path, over], daemon=True
        )
        copier.start()
        try:
            yield
        finally:
            over.set()
            said.close()
            copier.join(POLL_S)

    def stop(self) -> int | None:
        """SIGTERM, then SIGKILL; the container is gone then, its log with it.

        Returns:
            The exit code; None where the container was gone already.

        Raises:
            MachineError: the daemon does not answer or refuses.
        """
        if self._is_removed or not self._reload():
            return None
        try:
            end(self._container, STOP_TIMEOUT_S)
            return ending(self._container)[0] if self._reload() else None
        finally:
            remove(self._container)
            self._is_removed = True

    def _reload(self) -> bool:
        """Look again; False where the container is gone."""
        from docker.errors import NotFound

        with docker_errors("the Docker daemon does not answer"):
            try:
                self._container.reload()
            except NotFound:
                return False
        return True


def serve_container(
    engine: ContainerEngine,
    args: Sequence[str],
    *,
    profile: str,
    config_home: Path,
    port: int,
    host: str = LOOPBACK,
) -> ServedContainer:
    """Start a server that runs until it is stopped or the machine is.

    Args:
        engine: of the image.
        args: its flags, host and port added.
        profile: whose server it is.
        config_home: stands in for the user's settings: empty, inside the container.
        port: of this machine.
        host: the address of this machine at which it is.

    Raises:
        MachineError: the daemon refuses.
    """
    marks = {
        PROFILE_LABEL: profile,
        HOME_LABEL: str(config_home),
        PORT_LABEL: str(port),
    }
    container = replace(engine, config_home=config_home).create_server(
        args, role=Role.SERVE, port=port, host=host, extra_labels=marks
    )
    try:
        start(container)
        container.reload()
        return ServedContainer(container, tells_pids=engine.daemon.tells_pids)
    except BaseException:
        remove(container)
        raise


def find_container(container_id: str) -> ServedContainer | None:
    """A server that was started before; None where there is no such container.

    Raises:
        MachineError: no daemon answers.
    """
    from docker.errors import NotFound

    client = connect()
    with docker_errors("the Docker daemon does not answer"):
        try:
            container = client.containers.get(container_id)
        except NotFound:
            return None
    return ServedContainer(container, tells_pids=daemon_of(client).tells_pids)


def served_containers() -> tuple[ServedContainer, ...]:
    """All servers in containers, whether on record or not; none without a daemon."""
    if not is_likely():
        return ()
    try:
        client = connect()
        tells_pids = daemon_of(client).tells_pids
        found = labelled(client, Role.SERVE)
    except MachineError:
        return ()
    return tuple(ServedContainer(c, tells_pids=tells_pids) for c in found)


def _append_alone(said: Iterable[bytes], path: Path, over: threading.Event) -> None:
    """Append to a file once no other command does."""
    while not over.is_set():
        with _alone(path) as is_mine:
            if is_mine:
                append(said, path)
                return
        over.wait(POLL_S)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no other command appends to the file; none will meanwhile."""
    with path.open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
