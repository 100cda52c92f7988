"""Programs in containers that see nothing and last as long as the program."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from placer.engine.docker import Role, connect, remove_orphans
from placer.engine.docker.daemon import docker_errors
from placer.engine.docker.owner import labels, remove
from placer.errors import MachineError
from placer.sandbox.contract import NO_FILES, Ended, Finished
from placer.sandbox.ending import conclude
from placer.sandbox.inside import STARTED
from placer.sandbox.order import (
    FOLDER,
    first_program,
    make_order,
    package_paths,
    process_limits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from placer.sandbox.contract import Limits

IMAGE_VARIABLE = "PLACER_SANDBOX_IMAGE"
IMAGE_DEFAULT = "python:3.12-slim"
NOBODY = "65534:65534"
# An empty file takes the kernel's memory too.
MOST_FILES = 16_384
END_WITHIN_S = 10.0
NOTICED_WITHIN_S, NOTICE_PERIOD_S = 1.0, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSandbox:
    """A sandbox of containers.

    Attributes:
        client: the daemon.
        image: that has a Python.
    """

    client: DockerClient
    image: str

    @property
    def name(self) -> str:
        """What it is, with its image."""
        return f"docker ({self.image})"

    def run(
        self,
        program: str,
        *,
        limits: Limits,
        packages: tuple[Path, ...] = (),
        files: Mapping[str, str | bytes] = NO_FILES,
    ) -> Finished:
        """Run ``python main.py`` in a folder of its own.

        Raises:
            InputError: the name of a file is more than a name.
            MachineError: the daemon refuses.
        """
        inside = package_paths(packages)
        order = make_order(
            program,
            files,
            # Processes the daemon counts: the kernel would count all of this user.
            limits=process_limits(limits),
            packages=list(inside),
        )
        with ExitStack() as hearing:
            with self._made(limits, inside) as container:
                listener = hearing.enter_context(
                    Listener(container, len(STARTED) + limits.output_bytes)
                )
                container.start()
                started = time.monotonic()
                listener.tell(order)
                ended, code = _await(container, listener, limits)
            seconds = time.monotonic() - started
        return conclude(
            bytes(listener.output),
            code=code,
            ended=ended,
            seconds=seconds,
            limits=limits,
            sandbox=self.name,
        )

    @contextmanager
    def _made(
        self, limits: Limits, packages: Mapping[str, Path]
    ) -> Iterator[Container]:
        """A container that is not started yet; it is gone afterwards."""
        with docker_errors(f"no container of image {self.image} can be run"):
            container = self._create(limits, packages)
            try:
                yield container
            finally:
                remove(container)

    def _create(self, limits: Limits, packages: Mapping[str, Path]) -> Container:
        from docker.types import LogConfig, Mount

        return self.client.containers.create(
            self.image,
            [],
            entrypoint=["python3", *first_program()],
            name=f"placer-sandbox-{uuid.uuid4().hex[:12]}",
            labels=labels(Role.SEARCH),
            mounts=[
                Mount(target=at, source=str(folder), type="bind", read_only=True)
                for at, folder in packages.items()
            ],
            # What it says is heard here and kept nowhere.
            log_config=LogConfig(type="none"),
            stdin_open=True,
            **_confinement(limits),
        )


class Listener:
    """Tells a container its order and keeps what it says, and not a byte too much."""

    def __init__(self, container: Container, most_bytes: int) -> None:
        wanted = dict.fromkeys(("stdin", "stdout", "stderr", "stream"), 1)
        self._stream: Any = container.attach_socket(params=wanted)
        # By a socket's file it can only be read.
        self._socket: Any = getattr(self._stream, "_sock", self._stream)
        self._most_bytes = most_bytes
        self.output = bytearray()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hear it out; its container is gone."""
        self.join(END_WITHIN_S)
        self._stream.close()
        self._socket.close()

    @property
    def is_too_much(self) -> bool:
        """Whether it said more than it may."""
        return len(self.output) > self._most_bytes

    def tell(self, order: bytes) -> None:
        """Hand over what the first program waits for."""
        # One that ended already says why.
        with suppress(OSError):
            self._socket.sendall(order)

    def join(self, timeout_s: float) -> bool:
        """Wait until it says no more, or too much; whether that is so."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _hear(self) -> None:
        from docker.utils.socket import frames_iter

        frames: Any = frames_iter
        # A container that is removed takes its stream with it.
        with suppress(OSError, ValueError):
            for _, said in frames(self._stream, tty=False):
                self.output += said
                if self.is_too_much:
                    # The daemon ends no container that it still has to hand on.
                    self._socket.shutdown(socket.SHUT_RDWR)
                    return


def open_docker(image: str | None = None) -> DockerSandbox:
    """The sandbox of an image; whether it works is not known yet.

    Args:
        image: a name or an id; None for that of ``PLACER_SANDBOX_IMAGE``.

    Raises:
        MachineError: no daemon answers, or there is no such image.
    """
    from docker.errors import ImageNotFound

    image = image or os.environ.get(IMAGE_VARIABLE) or IMAGE_DEFAULT
    client = connect()
    remove_orphans()
    with docker_errors(f"image {image} cannot be used"):
        try:
            client.images.get(image)
        except ImageNotFound:
            raise MachineError(
                f"no image {image} is here", hint=f"docker pull {image}"
            ) from None
    return DockerSandbox(client=client, image=image)


def _confinement(limits: Limits) -> dict[str, Any]:
    """What a container of a program sees and may take."""
    from docker.types import Ulimit

    temp = f"rw,exec,nosuid,nodev,mode=1777,size={limits.temp_bytes}"
    return {
        "network_mode": "none",
        "ipc_mode": "private",
        "hostname": "sandbox",
        "user": NOBODY,
        "read_only": True,
        "tmpfs": {FOLDER: f"{temp},nr_inodes={MOST_FILES}"},
        "shm_size": limits.temp_bytes,
        "working_dir": FOLDER,
        "mem_limit": limits.memory_bytes,
        # The same figure: no swap.
        "memswap_limit": limits.memory_bytes,
        # The one that reaps is no process of the program's.
        "pids_limit": limits.processes + 1,
        "init": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        "healthcheck": {"test": ["NONE"]},
        "restart_policy": {"Name": "no"},
        "use_config_proxy": False,
    }


def _await(
    container: Container, listener: Listener, limits: Limits
) -> tuple[Ended, int]:
    """Until the program ended or has to be: by what, and its exit code."""
    import requests

    deadline = time.monotonic() + limits.wall_s
    if not listener.join(limits.wall_s):
        return Ended.TIME, 0
    if listener.is_too_much:
        return Ended.OUTPUT, 0
    try:
        # It may have closed its output and run on.
        left = max(deadline - time.monotonic(), 1.0)
        code = int(container.wait(timeout=left)["StatusCode"])
    # Of a socket's file it is a ConnectionError.
    except (requests.ReadTimeout, requests.ConnectionError):
        return Ended.TIME, 0
    return Ended.MEMORY if _ran_out(container, code) else Ended.ITSELF, code


def _ran_out(container: Container, code: int) -> bool:
    """Whether the kernel ended any of it for its memory: the daemon hears of that late.

    Of a program that ended well nobody waits to hear it.
    """
    until_s = time.monotonic() + (NOTICED_WITHIN_S if code else 0.0)
    while True:
        container.reload()
        if container.attrs["State"].get("OOMKilled"):
            return True
        if time.monotonic() >= until_s:
            return False
        time.sleep(NOTICE_PERIOD_S)
