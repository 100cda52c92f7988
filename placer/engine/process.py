"""The one seam to a running engine: start it, watch it, end exactly it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from placer.engine.binary import Engine

# A server in the middle of a long batch does not listen; who waits is a person.
STOP_TIMEOUT_S = 3.0
PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child must not take the loader's locks.
LIBC = ctypes.CDLL(None)


class EngineProcess(Protocol):
    """A started llama-server.

    **Ownership.** Who starts it stops it; ``stop`` may be called at any time and more
    than once, and leaves no process of its group behind.
    """

    @property
    def pid(self) -> int | None:
        """Its process id on this host, None where it has none."""

    @property
    def base_url(self) -> str:
        """Where it answers, without a final slash."""

    @property
    def log_path(self) -> Path:
        """The file that holds all that it says."""

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def stop(self) -> int:
        """End it and all it started; the exit code."""


class Runner(Protocol):
    """Starts llama-servers: here, in a container, or in a test's imagination."""

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Start one with ``args``, host and port added.

        Raises:
            MachineError: it cannot be started at all.
        """


class LocalRunner:
    """Starts llama-server as a child of this process, in a group of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Start it on a free loopback port, its output going to ``log_path``.

        What another launch wrote there goes: it would be read as this one's.
        """
        port = free_port()
        rpc = ["--rpc", self._engine.rpc] if self._engine.rpc else []
        binary = str(self._engine.binary)
        argv = [binary, *rpc, *args, "--host", "127.0.0.1", "--port", str(port)]
        child = start_child(
            argv,
            self._engine.environment,
            log_path,
            hint="give a llama-server with --server",
        )
        return LocalProcess(child, port, log_path)


def start_child(
    argv: Sequence[str], environment: Mapping[str, str], log_path: Path, *, hint: str
) -> subprocess.Popen[bytes]:
    """A program in a group of its own, its output in a file; it dies with placer.

    Args:
        argv: the program and what it is told.
        environment: all of its variables.
        log_path: where its output goes; what was there goes.
        hint: what to do where it cannot be started.

    Raises:
        MachineError: it cannot be started.
    """
    with log_path.open("wb") as log:
        try:
            return subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - two calls of the kernel
            )
        except OSError as error:
            raise MachineError(
                f"cannot be started: {error.strerror}", path=argv[0], hint=hint
            ) from None


class LocalProcess:
    """A llama-server that is a child of this process."""

    def __init__(
        self, child: subprocess.Popen[bytes], port: int, log_path: Path
    ) -> None:
        self._child = child
        self._port = port
        self._log_path = log_path

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._child.pid

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log_path(self) -> Path:
        """The file that holds all that it says."""
        return self._log_path

    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._child.poll()

    def stop(self) -> int:
        """SIGTERM, then SIGKILL to the group, then wait.

        A second Ctrl-C meanwhile only means that it is killed at once.
        """
        try:
            if self._child.poll() is None:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(STOP_TIMEOUT_S)
        finally:
            # Whatever it started goes too, and itself if it did not listen.
            self._signal(signal.SIGKILL)
        return self._child.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """In the child: be killed if placer is (Linux), and leave no core file of it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
