"""Devices that are processes: llama.cpp's own RPC servers, on this machine's CPU.

They compute fast enough to fill a context, which lavapipe does not. They report
the host's memory as theirs, so a capacity can be enforced and is not told.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Self

from placer.engine.environment import engine_library_env
from placer.engine.process import die_with_parent
from placer.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

READY_WITHIN_S = 20.0
END_WITHIN_S = 2.0
LOOPBACK = "127.0.0.1"
# For tests between networks: nothing else has such an address.
TEST_NETWORK = ip_network("198.18.0.0/15")

# Sets the limit of address space and becomes the program.
_LIMITED = (
    "import os, resource, sys; limit = int(sys.argv[1]);"
    " resource.setrlimit(resource.RLIMIT_AS, (limit, limit));"
    " os.execv(sys.argv[2], sys.argv[2:])"
)


class NetworkNamespaces:
    """Hosts of their own on this machine: network namespaces, each at a veth pair.

    What runs in one is reached by its address alone, and shares no loopback with
    anything else.

    Args:
        n: how many.

    Raises:
        MachineError: none can be made here; it takes root and ``ip``.
    """

    _numbers = itertools.count()

    def __init__(self, n: int) -> None:
        self.addresses: list[str] = []
        self._names: list[str] = []
        try:
            for _ in range(n):
                self._add(next(self._numbers))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, index: int) -> list[str]:
        """What a program is run with to run in one of them."""
        return ["ip", "netns", "exec", self._names[index]]

    def close(self) -> None:
        """They are gone, and the ends of their veth pairs with them."""
        while self._names:
            with suppress(MachineError):
                _ip("netns", "del", self._names.pop())

    def _add(self, number: int) -> None:
        name, end = f"placer{os.getpid()}n{number}", f"pl{os.getpid()}n{number}"
        at = (os.getpid() * 64 + number) * 4 % TEST_NETWORK.num_addresses
        ours, theirs = TEST_NETWORK[at + 1], TEST_NETWORK[at + 2]
        _ip("netns", "add", name)
        self._names.append(name)
        _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{ours}/30", "dev", end)
        _ip("link", "set", end, "up")
        _ip("-n", name, "addr", "add", f"{theirs}/30", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        self.addresses.append(str(theirs))


class RpcDevices:
    """RPC servers of the engine on free ports of this machine, all of them ready.

    Args:
        engine: the llama-server beside which ``ggml-rpc-server`` stands.
        threads: the CPU threads of each device: one device a figure.
        address_space_bytes: the limit of each device's address space, None for
            no limit; the program itself takes some 85 MiB of it.
        network: hosts for them, one each; None for this machine's loopback.

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
        network: NetworkNamespaces | None = None,
    ) -> None:
        limits = address_space_bytes or [None] * len(threads)
        if not threads or len(limits) != len(threads):
            raise InputError(f"{len(limits)} limits for {len(threads)} RPC devices")
        program = _find_program(engine)
        env = {**os.environ, **engine_library_env(program)}
        self._logs = tempfile.TemporaryDirectory(prefix="emulated-gpus-")
        self._servers: list[_Server] = []
        try:
            for i, (n, limit) in enumerate(zip(threads, limits, strict=True)):
                command = _limited([str(program), "-d", "CPU", "-t", str(n)], limit)
                host = LOOPBACK
                if network is not None:
                    host, command = network.addresses[i], network.command(i) + command
                log = Path(self._logs.name) / f"{i}.log"
                self._servers.append(_Server(command, host, env, log))
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
        return ",".join(server.endpoint for server in self._servers)

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
        self, command: list[str], host: str, env: dict[str, str], log: Path
    ) -> None:
        self._host = host
        self._port = _free_port()
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "-H", host, "-p", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
                # SIGPIPE stays ignored: it ends a server whose client was killed.
                restore_signals=False,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - two calls of the kernel
            )

    @property
    def endpoint(self) -> str:
        return f"{self._host}:{self._port}"

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
        with suppress(OSError), socket.create_connection((self._host, self._port)):
            return True
        return False

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said else f"exit code {self.process.returncode}"


def _limited(command: list[str], limit_bytes: int | None) -> list[str]:
    """The command under a limit of its address space."""
    if limit_bytes is None:
        return command
    return [sys.executable, "-I", "-S", "-c", _LIMITED, str(limit_bytes), *command]


def _ip(*args: str) -> None:
    """Change namespaces and links.

    Raises:
        MachineError: it is not allowed, or there is no such program.
    """
    program = shutil.which("ip")
    if program is None:
        raise MachineError("there is no program ip", hint="install iproute2")
    ran = subprocess.run(
        [program, *args], capture_output=True, text=True, errors="replace", check=False
    )
    if ran.returncode:
        raise MachineError(f"ip {' '.join(args)}: {ran.stderr.strip()}")


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
