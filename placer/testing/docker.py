"""A Docker daemon of a test's own, and an image with the test engine in it.

The daemon keeps to a folder and has no bridge: it needs root and Debian's
``docker.io``, and reaches nothing. Its containers run on this machine's network.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from placer.engine.process import die_with_parent
from placer.errors import MachineError
from placer.testing.layer import driver_library

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docker import DockerClient

IMAGE = "placer-test/llama-server:local"
# As the images of llama.cpp have it: .devops/vulkan.Dockerfile.
PROGRAM = "/app/llama-server"
CHANGES = ("ENV LLAMA_ARG_HOST=0.0.0.0", "WORKDIR /app", f'ENTRYPOINT ["{PROGRAM}"]')
# The cheapest first; a folder that lies on an overlay itself cannot be another's.
STORAGE_DRIVERS = ("overlay2", "vfs")
READY_WITHIN_S = 20.0
END_WITHIN_S = 15.0
LIBRARY = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)


class DockerDaemon:
    """A dockerd that is nobody else's, ready to be asked.

    Raises:
        MachineError: none can run here; it says why.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise MachineError("a Docker daemon needs root")
        if shutil.which("dockerd") is None:
            raise MachineError("there is no dockerd", hint="install docker.io")
        self._folder = tempfile.TemporaryDirectory(prefix="dockerd-")
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.storage = self._start_any()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def host(self) -> str:
        """What ``DOCKER_HOST`` names it by."""
        return f"unix://{self._folder.name}/docker.sock"

    def client(self) -> DockerClient:
        """A connection to it; whoever asks closes it."""
        import docker

        return docker.DockerClient(base_url=self.host)

    def close(self) -> None:
        """It and its containers are gone, and all that it kept."""
        self._end()
        for mount in _mounts_under(self._folder.name):
            # dockerd leaves the network of the host mounted.
            subprocess.run(["umount", "--lazy", mount], check=False)
        self._folder.cleanup()

    def _start_any(self) -> str:
        for storage in STORAGE_DRIVERS:
            if self._start(storage):
                return storage
        said = (Path(self._folder.name) / "log").read_text(errors="replace")
        raise MachineError(f"no Docker daemon runs here: {said.strip()[-200:]}")

    def _start(self, storage: str) -> bool:
        folder = Path(self._folder.name)
        options = {
            "--storage-driver": storage,
            "--data-root": folder / storage,
            "--exec-root": folder / "run",
            "--pidfile": folder / "pid",
            "--host": self.host,
            "--bridge": "none",
            "--iptables": "false",
        }
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dockerd", *(f"{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - two calls of the kernel
            )
        return self._is_ready()

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.host.removeprefix("unix://"))
                # It listens before it answers, also one that will not come up.
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b" 200 " in probe.recv(64):
                    return True
            time.sleep(0.05)
        self._end()
        return False

    def _end(self) -> None:
        """SIGTERM, which it passes on to all that it started, then SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def import_engine(client: DockerClient, engine: Path) -> str:
    """An image with an engine, lavapipe and what both need; its name.

    Args:
        client: the daemon that keeps it.
        engine: a llama-server whose libraries stand beside it or are this machine's.

    Raises:
        MachineError: lavapipe is not installed.
    """
    repository, _, tag = IMAGE.partition(":")
    with tempfile.NamedTemporaryFile(suffix=".tar") as root:
        write_root(Path(root.name), engine)
        client.api.import_image_from_file(
            root.name, repository=repository, tag=tag, changes=list(CHANGES)
        )
    return IMAGE


def write_root(archive: Path, engine: Path) -> None:
    """The root of the image as a tar: no shell, no package, nothing but the engine."""
    driver = Path(driver_library())
    with tarfile.open(archive, "w") as root:
        for path in (driver, *_libraries([engine, driver])):
            beside = path.parent == engine.parent
            inside = Path("/app") / path.name if beside else path
            root.add(path.resolve(), arcname=str(inside))
        root.add(engine, arcname=PROGRAM)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        root.addfile(temporary)


def _mounts_under(folder: str) -> list[str]:
    """What is mounted inside a folder, the innermost first."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1] for line in mounts]
    return sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True)


def _libraries(programs: Iterable[Path]) -> list[Path]:
    """What the loader loads with each, itself among it."""
    found: dict[Path, None] = {}
    for program in programs:
        said = subprocess.run(
            ["ldd", str(program)], capture_output=True, text=True, check=True
        ).stdout
        found.update((Path(path), None) for path in LIBRARY.findall(said))
    return list(found)
