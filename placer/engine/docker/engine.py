"""An engine that is an image: what its containers see, and what it answers."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.engine.binary import ASK_TIMEOUT_S
from placer.engine.docker.daemon import CDI_NVIDIA, Daemon, daemon_of, docker_errors
from placer.engine.docker.files import absolute, named_files
from placer.engine.docker.owner import Role, labels, remove
from placer.engine.environment import SCRUBBED_PREFIXES
from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker import DockerClient
    from docker.models.containers import Container
    from docker.types import DeviceRequest, Mount

# Which devices there are, and in which order, is the user's own choice.
DEVICE_VARIABLES = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
)
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside; outside the port is published on loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEngine:
    """A llama-server in an image, and what surrounds each of its containers.

    Attributes:
        client: the daemon.
        daemon: what it does.
        image: its name.
        config_home: an empty folder of the container in place of the user's settings.
        program: what is run; empty for the image's own entrypoint.
        unset: variables of the image that would change a launch.
        variables: added to its environment.
        folders: of this machine, seen at the same place and written to; those of
            emulated devices, which are all that such a container sees.
        memory_bytes: of the host that a container may take; None for all.
        rpc: endpoints of ``--rpc``, or None.
        build: what it calls itself.
    """

    client: DockerClient
    daemon: Daemon
    image: str
    config_home: Path
    program: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    memory_bytes: int | None = None
    rpc: str | None = None
    build: str = "unknown"

    @property
    def binary(self) -> Path:
        """What messages name."""
        return Path(self.image)

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run it with flags that make it answer and end.

        Raises:
            MachineError: it cannot be started or does not end.
        """
        import requests

        container = self.create(args, role=Role.SEARCH)
        try:
            start(container)
            with docker_errors(f"image {self.image} gave no answer"):
                try:
                    ended = container.wait(timeout=ASK_TIMEOUT_S)
                # Of a socket's file it is a ConnectionError.
                except (requests.ReadTimeout, requests.ConnectionError):
                    raise MachineError(
                        f"did not answer {' '.join(args)} in {ASK_TIMEOUT_S} s",
                        path=self.binary,
                        hint="look at the driver: nvidia-smi, vulkaninfo",
                    ) from None
                said = container.logs(stdout=True, stderr=False)
                complained = container.logs(stdout=False, stderr=True)
        finally:
            remove(container)
        return subprocess.CompletedProcess(
            args=list(args),
            returncode=as_exit_code(ended["StatusCode"]),
            stdout=said.decode(errors="replace"),
            stderr=complained.decode(errors="replace"),
        )

    def create_server(
        self,
        args: Sequence[str],
        *,
        role: Role,
        port: int,
        host: str = LOOPBACK,
        extra_labels: Mapping[str, str] | None = None,
    ) -> Container:
        """A container whose server will listen at an address of this machine.

        Raises:
            MachineError: the daemon refuses.
        """
        rpc = ["--rpc", self.rpc] if self.rpc else []
        at = host if self.daemon.host_network else EVERYWHERE
        return self.create(
            (*rpc, *absolute(args), "--host", at, "--port", str(port)),
            role=role,
            published=(host, port),
            extra_labels=extra_labels,
        )

    def create(
        self,
        args: Sequence[str],
        *,
        role: Role,
        published: tuple[str, int] | None = None,
        extra_labels: Mapping[str, str] | None = None,
    ) -> Container:
        """A container that is not started yet.

        Raises:
            MachineError: the daemon refuses.
        """
        options = self._options(args) | self._network(published)
        with docker_errors(f"no container of image {self.image} can be made"):
            return self.client.containers.create(
                self.image,
                list(args),
                name=f"placer-{role}-{uuid.uuid4().hex[:12]}",
                labels={**labels(role), **(extra_labels or {})},
                **options,
            )

    def _options(self, args: Sequence[str]) -> dict[str, Any]:
        from docker.types import LogConfig, Ulimit

        options: dict[str, Any] = {
            "environment": self._environment(),
            "mounts": self._mounts(args),
            "tmpfs": {str(self.config_home): ""},
            # By this id NVML and the emulated devices know it. And what is the first
            # of its own namespace cannot abort: its SIGABRT becomes a SIGSEGV.
            "pid_mode": "host",
            "userns_mode": "host",
            "healthcheck": {"test": ["NONE"]},
            "restart_policy": {"Name": "no"},
            "log_config": LogConfig(type="json-file"),
            "stop_signal": "SIGTERM",
            "ulimits": [Ulimit(name="core", soft=0, hard=0)],
            "use_config_proxy": False,
        }
        if self.program:
            options["entrypoint"] = list(self.program)
        if self.memory_bytes is not None:
            # The same figure: no swap.
            options |= dict.fromkeys(("mem_limit", "memswap_limit"), self.memory_bytes)
        return options | self._devices()

    def _environment(self) -> list[str]:
        """Variables to set; a name alone takes it away from what the image sets."""
        chosen = {n: os.environ[n] for n in DEVICE_VARIABLES if n in os.environ}
        own = {"XDG_CONFIG_HOME": str(self.config_home), "GGML_NO_BACKTRACE": "1"}
        values = {**chosen, **own, **self.variables}
        return [*self.unset, *(f"{name}={value}" for name, value in values.items())]

    def _mounts(self, args: Sequence[str]) -> list[Mount]:
        from docker.types import Mount

        def bind(path: str, *, read_only: bool) -> Mount:
            return Mount(target=path, source=path, type="bind", read_only=read_only)

        shared = [bind(str(folder), read_only=False) for folder in self.folders]
        return [*shared, *(bind(p, read_only=True) for p in named_files(args))]

    def _network(self, published: tuple[str, int] | None) -> dict[str, Any]:
        if self.daemon.host_network:
            return {"network_mode": "host"}
        return (
            {} if published is None else {"ports": {f"{published[1]}/tcp": published}}
        )

    def _devices(self) -> dict[str, Any]:
        """The devices that compute; emulated ones are all that is wanted of such."""
        if self.folders:
            return {}
        found: dict[str, Any] = {}
        if self.daemon.render_devices:
            found["devices"] = [f"{d}:{d}:rwm" for d in self.daemon.render_devices]
        request = nvidia_request(self.daemon)
        return found if request is None else {**found, "device_requests": [request]}


def open_engine(
    client: DockerClient, image: str, *, config_home: Path, program: Path | None = None
) -> ContainerEngine:
    """The engine of an image.

    Args:
        client: the daemon.
        image: a name or an id.
        config_home: as the engine has it.
        program: llama-server inside the image; None for what the image starts.

    Raises:
        MachineError: there is no such image.
    """
    from docker.errors import ImageNotFound

    with docker_errors(f"image {image} cannot be used"):
        try:
            config = client.images.get(image).attrs["Config"] or {}
        except ImageNotFound:
            raise MachineError(
                f"no image {image} is here", hint=f"docker pull {image}"
            ) from None
    names = [variable.partition("=")[0] for variable in config.get("Env") or ()]
    return ContainerEngine(
        client=client,
        daemon=daemon_of(client),
        image=image,
        config_home=config_home,
        program=_program(program, config),
        unset=tuple(name for name in names if name.startswith(SCRUBBED_PREFIXES)),
    )


def nvidia_request(daemon: Daemon) -> DeviceRequest | None:
    """All NVIDIA cards, where there are any."""
    from docker.types import DeviceRequest

    if daemon.nvidia == "gpu":
        return DeviceRequest(count=-1, capabilities=[["gpu"]])
    if daemon.nvidia == "cdi":
        return DeviceRequest(driver="cdi", device_ids=[CDI_NVIDIA])
    return None


def start(container: Container) -> None:
    """Start a container that was made.

    Raises:
        MachineError: the daemon refuses; the program is not in the image, for one.
    """
    hint = "see what the image lacks; --server names llama-server inside it"
    with docker_errors("the container cannot be started", hint):
        container.start()


def as_exit_code(status: int) -> int:
    """An exit code of a container, negative for a signal as of a local process."""
    return 128 - status if 128 < status < 160 else status


def _program(given: Path | None, config: Mapping[str, Any]) -> tuple[str, ...]:
    """What to run instead of the image's entrypoint; nothing where it has one."""
    if given is not None:
        return (str(given),)
    if config.get("Entrypoint"):
        return ()
    # What an image runs is no flag of it.
    return tuple(config.get("Cmd") or ("llama-server",))[:1]
