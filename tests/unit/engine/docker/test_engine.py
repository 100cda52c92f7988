"""What is asked of a daemon for a container."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from placer.engine.docker.daemon import Daemon
from placer.engine.docker.engine import (
    DEVICE_VARIABLES,
    EVERYWHERE,
    ContainerEngine,
    as_exit_code,
    open_engine,
)
from placer.engine.docker.owner import Role

if TYPE_CHECKING:
    from docker import DockerClient


class FakeImages:
    """Images of a daemon, each with its own configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.attrs = {"Config": config}

    def get(self, name: str) -> FakeImages:
        return self


class FakeContainers:
    """Containers that are only written down."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def create(self, image: str, command: list[str], **options: Any) -> None:
        self.created.append({"image": image, "command": command, **options})


class FakeClient:
    """A daemon with one image, which makes containers and starts none."""

    def __init__(self, **config: Any) -> None:
        self.images = FakeImages(config)
        self.containers = FakeContainers()

    def info(self) -> dict[str, Any]:
        return {}


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user chose no devices."""
    for name in DEVICE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def engine_of(client: FakeClient, program: Path | None = None) -> ContainerEngine:
    """The engine of the client's image."""
    return open_engine(
        cast("DockerClient", client),
        "an-image",
        config_home=Path("/home-of-one"),
        program=program,
    )


def made(daemon: Daemon, *args: str, **values: Any) -> dict[str, Any]:
    """What is asked for a server at port 8123 on such a daemon."""
    client = FakeClient()
    engine = ContainerEngine(
        client=cast("DockerClient", client),
        daemon=daemon,
        image="an-image",
        config_home=Path("/home-of-one"),
        **values,
    )
    engine.create_server(args, role=Role.SEARCH, port=8123)
    return client.containers.created[0]


@pytest.mark.parametrize(
    ("config", "given", "program"),
    [
        ({"Entrypoint": ["/app/llama-server"]}, None, ()),
        ({"Entrypoint": ["/app/tools.sh"]}, Path("/app/x"), ("/app/x",)),
        ({"Cmd": ["/srv/llama-server", "--port", "80"]}, None, ("/srv/llama-server",)),
        ({}, None, ("llama-server",)),
    ],
)
def test_the_program_is_the_images_own_unless_it_is_named(
    config: dict[str, Any], given: Path | None, program: tuple[str, ...]
) -> None:
    """What an image runs as its command is no flag of a launch."""
    assert engine_of(FakeClient(**config), given).program == program


def test_variables_of_the_image_that_change_a_launch_are_taken_away() -> None:
    """A name without a value is how the daemon is told; others stay."""
    client = FakeClient(Env=["PATH=/bin", "LLAMA_ARG_HOST=0.0.0.0", "LLAMA_X="])
    engine_of(client).create((), role=Role.SEARCH)
    (container,) = client.containers.created
    assert container["environment"] == [
        "LLAMA_ARG_HOST",
        "LLAMA_X",
        "XDG_CONFIG_HOME=/home-of-one",
        "GGML_NO_BACKTRACE=1",
    ]


def test_the_users_choice_of_devices_holds_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA counts the cards in a container as it does outside."""
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in made(Daemon())["environment"]


def test_no_container_comes_back_by_itself() -> None:
    """A restart would hide an out-of-memory; nor is the image's health asked."""
    container = made(Daemon())
    assert container["restart_policy"] == {"Name": "no"}
    assert container["healthcheck"] == {"test": ["NONE"]}
    assert container["labels"]["placer.role"] == "search"


def test_a_server_is_reached_from_this_machine_alone() -> None:
    """By its network, or by a port that is published on loopback."""
    shared = made(Daemon())
    assert shared["network_mode"] == "host"
    assert shared["command"] == ["--host", "127.0.0.1", "--port", "8123"]
    apart = made(Daemon(host_network=False))
    assert apart["ports"] == {"8123/tcp": ("127.0.0.1", 8123)}
    assert apart["command"] == ["--host", EVERYWHERE, "--port", "8123"]
    assert "network_mode" not in apart


def test_files_are_mounted_where_they_are_and_only_to_be_read(tmp_path: Path) -> None:
    """The flags are the same inside and outside; RPC endpoints stand first."""
    model = tmp_path / "a.gguf"
    model.touch()
    container = made(Daemon(), "-m", str(model), rpc="127.0.0.1:5")
    assert container["command"][:4] == ["--rpc", "127.0.0.1:5", "-m", str(model)]
    (mount,) = container["mounts"]
    assert (mount["Source"], mount["Target"]) == (str(model), str(model))
    assert mount["ReadOnly"] is True


def test_devices_are_passed_as_the_daemon_has_them() -> None:
    """Of NVIDIA by request, others as they are; none beside emulated ones."""
    daemon = Daemon(nvidia="gpu", render_devices=("/dev/dri",))
    container = made(daemon)
    assert container["devices"] == ["/dev/dri:/dev/dri:rwm"]
    (request,) = container["device_requests"]
    assert (request["Count"], request["Capabilities"]) == (-1, [["gpu"]])
    (cdi,) = made(Daemon(nvidia="cdi"))["device_requests"]
    assert (cdi["Driver"], cdi["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=all"])
    emulated = made(daemon, folders=(Path("/gpus"),))
    assert "device_requests" not in emulated
    assert "devices" not in emulated
    assert [m["ReadOnly"] for m in emulated["mounts"]] == [False]


def test_a_limit_of_memory_leaves_no_swap() -> None:
    """Memory and memory with swap are one figure."""
    container = made(Daemon(), memory_bytes=123)
    assert container["mem_limit"] == container["memswap_limit"] == 123


@pytest.mark.parametrize(
    ("status", "code"), [(0, 0), (1, 1), (137, -9), (134, -6), (128, 128), (200, 200)]
)
def test_exit_codes_are_those_of_a_local_process(status: int, code: int) -> None:
    """A signal is negative."""
    assert as_exit_code(status) == code
