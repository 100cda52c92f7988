"""Devices that are processes: llama.cpp's own RPC servers, on this machine's CPU.

They compute fast enough to fill a context, which lavapipe does not. They report
the host's memory as theirs, so a capacity can be enforced and is not told.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from placer.engine.environment import engine_library_env
from placer.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

READY_WITHIN_S = 20.0
END_WITHIN_S = 2.0

# Sets the limit of address space and becomes the program.
_LIMITED = (
    "import os, resource, sys; limit = int(sys.argv[1]);"
    " resource.setrlimit(resource.RLIMIT_AS, (limit, limit));"
    " os.execv(sys.argv[2], sys.argv[2:])"
)


class RpcDevices:
    """RPC servers of the engine on free ports of this machine, all of them ready.

    Args:
        engine: the llama-server beside which ``ggml-rpc-server`` stands.
        threads: the CPU threads of each device: one device a figure.
        address_space_bytes: the limit of each device's address space, None for
            no limit; the program itself takes some 85 MiB of it.

    Raises:
        InputError: no device, or not as many limits as devices.
        MachineError: the engine has no RPC server, or one did not come up.
    """

    def __init__(
        self,
        engine: Path,
        threads: Sequence[int],
        *,
        address_space_bytes: Sequence[int | None] | None = None,
    ) -> None:
        limits = address_space_bytes or [None] * len(threads)
        if not threads or len(limits) != len(threads):
            raise InputError(f"{len(limits)} limits for {len(threads)} RPC devices")
        program = _find_program(engine)
        self._logs = tempfile.TemporaryDirectory(prefix="emulated-gpus-")
        self._servers: list[_Server] = []
        try:
            for i, (n, limit) in enumerate(zip(threads, limits, strict=True)):
                log = Path(self._logs.name) / f"{i}.log"
                self._servers.append(_Server(program, n, limit, log))
            for server in self._servers:
                server.wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoints(self) -> str:
        """What the engine's ``--rpc`` takes: ``127.0.0.1:p1,127.0.0.1:p2``."""
        return ",".join(f"127.0.0.1:{server.port}" for server in self._servers)

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, in the order of the devices."""
        return tuple(server.process.pid for server in self._servers)

    def close(self) -> None:
        """No server runs any more."""
        for server in self._servers:
            server.ask_to_end()
        for server in self._servers:
            server.end()
        self._logs.cleanup()


class _Server:
    """One RPC server, in a process group of its own."""

    def __init__(
        self, program: Path, threads: int, limit_bytes: int | None, log: Path
    ) -> None:
        self.port = _free_port()
        self._log = log
        command = [str(program), "-H", "127.0.0.1", "-p", str(self.port)]
        command += ["-d", "CPU", "-t", str(threads)]
        if limit_bytes is not None:
            wrapper = [sys.executable, "-I", "-S", "-c", _LIMITED, str(limit_bytes)]
            command = wrapper + command
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **engine_library_env(program)},
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise MachineError(f"an RPC server ended at once: {self._last_line()}")
            if self._listens():
                return
            time.sleep(0.02)
        raise MachineError(f"an RPC server is not ready after {READY_WITHIN_S:.0f} s")

    def ask_to_end(self) -> None:
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGTERM)

    def end(self) -> None:
        """The whole group is gone.

        The leader is waited for without being reaped: until then nobody else can
        get its number, and SIGKILL reaches this group alone.
        """
        if self.process.returncode is not None:
            return
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        deadline = time.monotonic() + END_WITHIN_S
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self.process.pid, how) is not None:
                break
            time.sleep(0.01)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"exit code {self.process.returncode}"


def _find_program(engine: Path) -> Path:
    for name in ("ggml-rpc-server", "rpc-server"):
        program = engine.with_name(name)
        if program.is_file():
            return program
    raise MachineError(
        "no ggml-rpc-server stands beside the engine",
        path=engine,
        hint="use an engine that was built with GGML_RPC=ON",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
