"""A llama-server in a container: started, followed, ended, and its end understood."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from placer.engine.docker.daemon import GONE, docker_errors
from placer.engine.docker.engine import LOOPBACK, ContainerEngine, as_exit_code, start
from placer.engine.docker.owner import Role, remove
from placer.engine.process import STOP_TIMEOUT_S, EngineProcess, free_port
from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from docker.models.containers import Container

KILLED = -9
PROGRAM = "llama-server"
# As the judge knows it: phrases.OOM_KILLER.
OOM_KILLED = b"\nllama-server was killed by the OOM killer in its container\n"


class ContainerRunner:
    """Starts llama-server in a container that ends with this process."""

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Start it on a free loopback port, its output going to ``log_path``.

        What another launch wrote there goes: it would be read as this one's.

        Raises:
            MachineError: the daemon refuses.
        """
        port = free_port()
        log_path.write_bytes(b"")
        container = self._engine.create_server(args, role=Role.SEARCH, port=port)
        try:
            start(container)
            container.reload()
            tells_pids = self._engine.daemon.tells_pids
            return ContainerProcess(container, port, log_path, tells_pids=tells_pids)
        except BaseException:
            remove(container)
            raise


class ContainerProcess:
    """A llama-server in a container of this process."""

    def __init__(
        self, container: Container, port: int, log_path: Path, *, tells_pids: bool
    ) -> None:
        self._container = container
        self._port = port
        self._log_path = log_path
        self._tells_pids = tells_pids
        self._code: int | None = None
        self._error: MachineError | None = None
        self._is_removed = False
        self._watch = threading.Thread(target=self._follow, daemon=True)
        self._watch.start()

    @property
    def pid(self) -> int | None:
        """Its process id on this host, None where the daemon is not on it."""
        return server_pid(self._container) if self._tells_pids else None

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def log_path(self) -> Path:
        """The file that holds all that it says."""
        return self._log_path

    def exit_code(self) -> int | None:
        """Its exit code, the log complete by then; None while it runs.

        Raises:
            MachineError: the daemon went away.
        """
        if self._watch.is_alive():
            return None
        if self._error is not None:
            raise self._error
        return self._code

    def stop(self) -> int:
        """SIGTERM, then SIGKILL to the container, then wait; it is gone then.

        A second Ctrl-C meanwhile only means that it is killed at once.
        """
        if not self._is_removed:
            try:
                if self._watch.is_alive():
                    end(self._container, STOP_TIMEOUT_S)
                self._watch.join()
            finally:
                remove(self._container)
                self._is_removed = True
        self._watch.join()
        return KILLED if self._code is None else self._code

    def _follow(self) -> None:
        """Copy what it says until it ends; then how it ended."""
        from docker.errors import APIError

        try:
            with docker_errors("the Docker daemon went away"):
                try:
                    self._code = follow_to_end(self._container, self._log_path)
                except APIError as error:
                    if error.status_code not in GONE:
                        raise
                    # Somebody removed it.
                    self._code = KILLED
        except MachineError as error:
            self._error = error


def follow_to_end(container: Container, log_path: Path) -> int:
    """Copy what a container says until it ends; the exit code."""
    copy_log(container, log_path, follow=True)
    container.wait()
    # Whatever the stream was cut short of.
    copy_log(container, log_path)
    code, is_oom = ending(container)
    if is_oom:
        note_oom(log_path)
    return code


def copy_log(container: Container, path: Path, *, follow: bool = False) -> None:
    """Append to a file what a container said and the file does not hold yet.

    Args:
        container: to read.
        path: the file; it need not be there.
        follow: until the container ends.
    """
    append(container.logs(stream=True, follow=follow), path)


def append(said: Iterable[bytes], path: Path) -> None:
    """Append all that a container said, from its beginning on, but what is there.

    It is always said in the same order.
    """
    with path.open("ab") as log:
        to_skip = log.tell()
        for chunk in said:
            log.write(chunk[to_skip:])
            log.flush()
            to_skip = max(to_skip - len(chunk), 0)


def note_oom(log_path: Path) -> None:
    """The log says at its end, and once, that the kernel ended the server."""
    if not log_path.read_bytes().endswith(OOM_KILLED):
        with log_path.open("ab") as log:
            log.write(OOM_KILLED)


def ending(container: Container) -> tuple[int, bool]:
    """The exit code of a container that ended, and whether the kernel ended it."""
    container.reload()
    state = container.attrs["State"]
    code = as_exit_code(int(state["ExitCode"]))
    return code, bool(state.get("OOMKilled")) and code == KILLED


def end(container: Container, timeout_s: float) -> None:
    """SIGTERM, then SIGKILL; one that ended or is gone is no error."""
    from docker.errors import NotFound

    problem = f"container {container.name} cannot be stopped"
    with docker_errors(problem), suppress(NotFound):
        container.stop(timeout=int(timeout_s))


def server_pid(container: Container) -> int | None:
    """The process of llama-server on this host, None where none runs.

    The entrypoint may be a script that started it.
    """
    import psutil

    first = int(container.attrs["State"]["Pid"])
    if first == 0:
        return None
    try:
        process = psutil.Process(first)
        for one in (process, *process.children(recursive=True)):
            if PROGRAM in one.name():
                return int(one.pid)
    except psutil.Error:
        return None
    return first
