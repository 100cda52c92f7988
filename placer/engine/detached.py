"""A llama-server in the background: it outlives the command that started it.

It is started behind a gate: a shell that becomes the engine once it is told to. Who
starts it puts it on record first; a starter that is killed in between leaves nothing,
as the gate then closes.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GATE = 'ulimit -c 0; read -r _ && exec "$@" </dev/null'
# A server in the middle of a long batch does not listen; who waits is a person.
STOP_TIMEOUT_S = 5.0
POLL_S = 0.02
# Two clocks tell when a process began; a number is not given again so soon.
SAME_S = 1.0


@dataclass(slots=True, kw_only=True)
class DetachedProcess:
    """A background llama-server, this command's own or an earlier one's.

    Attributes:
        pid: of the process, and of its group.
        created: when it began, seconds since the epoch; tells it from another process
            that was given its number.
        argv: its command line, which tells it where the clock was set meanwhile.
        base_url: where it answers.
        log_path: the file that holds all that it says.
        is_child: whether it is this very process that started it.
    """

    pid: int
    created: float
    argv: tuple[str, ...]
    base_url: str
    log_path: Path
    is_child: bool = False
    _code: int | None = field(default=None, init=False)

    def is_running(self) -> bool:
        """Whether it is there and has not ended."""
        return self.exit_code() is None

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs.

        Zero, too, where it was somebody else's child and nobody knows.
        """
        if self._code is None:
            self._look()
        return self._code

    def _look(self) -> None:
        """Whether it has ended, and how: the kernel says it to its parent alone."""
        try:
            process = psutil.Process(self.pid)
            is_it = self._is_it(process)
            lives = is_it and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            is_it = lives = False
        if not (self.is_child or is_it):
            self._code = 0
            return
        try:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self._code = None if lives else 0
            return
        # A child that is a zombie by its first thread may still have others.
        self._code = os.waitstatus_to_exitcode(code) if pid else None

    def stop(self) -> int:
        """SIGTERM, then SIGKILL, to it and all it started; its exit code.

        A second Ctrl-C meanwhile only means that it is killed at once.
        """
        try:
            if self.is_running():
                self._signal(signal.SIGTERM)
                self._wait(STOP_TIMEOUT_S)
        finally:
            self._signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT_S)
        return self.exit_code() or 0

    def _is_it(self, process: psutil.Process) -> bool:
        if abs(process.create_time() - self.created) < SAME_S:
            return True
        return tuple(process.cmdline()) == self.argv

    def _wait(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < until_s:
            time.sleep(POLL_S)

    def _signal(self, number: int) -> None:
        """To its group, which lives on while any member does.

        A number that is another process's by now was free before: nobody is left.
        """
        with suppress(psutil.Error):
            if not self._is_it(psutil.Process(self.pid)):
                return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


@dataclass(slots=True, kw_only=True)
class Gated:
    """A process that waits to become the engine.

    Attributes:
        process: the process; ``open`` makes an engine of it, ``stop`` ends it.
    """

    process: DetachedProcess
    _gate: int = field(repr=False)

    def open(self) -> DetachedProcess:
        """It is the engine from now on."""
        os.write(self._gate, b"\n")
        self.close()
        return self.process

    def close(self) -> None:
        """The gate is let go of; still closed, it ends the process."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1


def start_gated(
    argv: Sequence[str], env: Mapping[str, str], *, base_url: str, log_path: Path
) -> Gated:
    """A process in a session of its own, without a terminal, behind the gate.

    Args:
        argv: the engine and its flags.
        env: its whole environment.
        base_url: where it will answer.
        log_path: where its output goes; what was there before goes.

    Raises:
        MachineError: it cannot be started.
    """
    waiting, gate = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_DUP2, waiting, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log_path), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", GATE, "sh", *argv],
            env,
            file_actions=files,
            setsid=True,
        )
    except OSError as error:
        os.close(gate)
        raise MachineError(
            f"cannot be started: {error.strerror}",
            path=argv[0],
            hint="give a llama-server with --server",
        ) from None
    finally:
        os.close(waiting)
    process = DetachedProcess(
        pid=pid,
        created=psutil.Process(pid).create_time(),
        argv=tuple(argv),
        base_url=base_url,
        log_path=log_path,
        is_child=True,
    )
    return Gated(process=process, _gate=gate)
