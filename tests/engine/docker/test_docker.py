"""The real engine in real containers, of a Docker daemon that the tests start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from placer.app.rig import Rig, open_rig
from placer.engine.docker import (
    ContainerEngine,
    find_container,
    remove_orphans,
    serve_container,
    served_containers,
)
from placer.engine.judge import Outcome
from placer.engine.loadtest import LoadTest
from placer.engine.log import Phase
from placer.engine.observation import Proof
from placer.engine.process import free_port
from placer.errors import MachineError
from placer.gguf import read_gguf
from placer.memory import estimate_memory
from placer.model import ModelShape, model_shape
from placer.placement import Placement, Workload
from placer.search.records import read_study
from placer.search.search import launch_args
from placer.testing.fake_shapes import fake_machine
from placer.testing.launch import launched
from placer.units import MIB, pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from placer.engine.judge import Verdict
    from placer.engine.observation import Observation

pytestmark = pytest.mark.engine

WORKLOAD = Workload(ctx=8192, batch=512, ubatch=512, parallel=2)
BOTH = Placement(split=(3, 3))
PLACER = str(Path(sys.executable).with_name("placer"))
WITHIN_S = 20.0


@pytest.fixture
def shape(dense_path: Path) -> ModelShape:
    """The dense model."""
    return model_shape(read_gguf(dense_path))


@pytest.fixture
def foreign(client: DockerClient, image: str) -> Iterator[Container]:
    """A container of somebody else's, of the same image."""
    container = client.containers.create(image, ["--version"], network_mode="host")
    yield container
    container.reload()
    container.remove()


def launch_flags(rig: Rig, shape: ModelShape, model: Path) -> list[str]:
    """The flags of a launch on both devices."""
    flags = launch_args(str(model), WORKLOAD, (), BOTH, shape, rig.machine)
    return [*flags, "--no-warmup"]


def observe(
    rig: Rig, shape: ModelShape, model: Path, log: Path, *extra: str
) -> tuple[Observation, Verdict]:
    """Load, and judge."""
    test = LoadTest(
        runner=rig.runner,
        machine=rig.machine,
        shape=shape,
        workload=WORKLOAD,
        proof=Proof.LOAD,
        watch=rig.watch,
    )
    args = [*launch_flags(rig, shape, model), *extra]
    return launched(test, args, log)


def optimize(words: str) -> list[str]:
    """The command line of a search."""
    return [PLACER, "optimize", *words.split()]


def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(base_url: str) -> bool:
    """Whether the model is loaded."""
    try:
        return httpx.get(f"{base_url}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def test_optimize_searches_and_proves_in_containers(
    image: str, dense_path: Path, foreign: Container, tmp_path: Path
) -> None:
    """Dry runs, launches and questions all run in the image; memory is seen there."""
    said = subprocess.run(
        optimize(
            f"{dense_path} --docker {image} --emulate 36,40 --ctx 512 -b 64 -ub 64 "
            f"--proof load --logs {tmp_path} --json"
        ),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        # No engine of this machine can be meant.
        env={**os.environ, "PLACER_LLAMA_SERVER": "/nowhere"},
    )
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    found = answer["found"]
    assert found["slots"] == [0, 6]
    assert found["dry_run"]["source"] == "dry-run"
    assert found["verdict"] == "FITS"
    assert read_study(tmp_path / answer["study"]).header["image"] == image
    assert found["peak_bytes"][1] > found["formula"]["devices"][1]["model_bytes"]
    foreign.reload()
    assert foreign.status == "created"


def capacities_short_of(shape: ModelShape, phase: Phase) -> tuple[int, int]:
    """MiB of two devices, of which the second gives out in this phase."""
    held = estimate_memory(shape, WORKLOAD, BOTH, fake_machine([0, 0])).devices[1]
    parts = [held.model_bytes, held.context_bytes or 0, MIB]
    count = [Phase.WEIGHTS, Phase.CONTEXT, Phase.COMPUTE].index(phase)
    return 400, pad(sum(parts[:count]) + parts[count] // 2, MIB) // MIB


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [
        (Phase.WEIGHTS, Outcome.OOM_WEIGHTS),
        (Phase.CONTEXT, Outcome.OOM_CONTEXT),
        (Phase.COMPUTE, Outcome.OOM_COMPUTE),
    ],
)
def test_out_of_memory_inside_a_container_is_judged_as_outside(
    image: str,
    dense_path: Path,
    shape: ModelShape,
    tmp_path: Path,
    phase: Phase,
    outcome: Outcome,
) -> None:
    """The verdict names device and phase, by the last words that the log caught."""
    with open_rig(emulate=capacities_short_of(shape, phase), image=image) as rig:
        seen, verdict = observe(rig, shape, dense_path, tmp_path / "log")
    assert verdict.outcome is outcome, verdict
    assert verdict.device == "Vulkan1"
    assert seen.exit_code == 1


def test_what_fits_is_seen_to_fit_and_to_hold(
    image: str, dense_path: Path, shape: ModelShape, tmp_path: Path
) -> None:
    """Loaded in a container, what its process holds of each device is seen here."""
    with open_rig(emulate=(400, 300), image=image) as rig:
        seen, verdict = observe(rig, shape, dense_path, tmp_path / "log")
    assert verdict.outcome is Outcome.FITS, verdict
    assert seen.peak_bytes is not None
    assert min(seen.peak_bytes) > MIB
    assert len(seen.facts.breakdown) == 3, "printed at the very end"


def test_a_container_that_the_kernel_kills_lacks_host_memory(
    image: str, dense_path: Path, shape: ModelShape, tmp_path: Path
) -> None:
    """A limit of the container is the host's memory, and no size of a device."""
    with open_rig(emulate=(400, 300), image=image, memory_mib=60) as rig:
        seen, verdict = observe(rig, shape, dense_path, tmp_path / "log")
    assert seen.exit_code == -signal.SIGKILL
    assert verdict.outcome is Outcome.HOST_MEMORY, verdict


def test_a_killed_server_ends_by_the_signal_that_killed_it(
    image: str, dense_path: Path, shape: ModelShape, tmp_path: Path
) -> None:
    """An abort is an abort, as of a local process; stop may follow, twice."""
    with open_rig(emulate=(400, 300), image=image) as rig:
        flags = launch_flags(rig, shape, dense_path)
        process = rig.runner.start(flags, log_path=tmp_path / "log")
        until(lambda: answers(process.base_url))
        assert process.pid is not None
        assert "llama-server" in psutil.Process(process.pid).name()
        os.kill(process.pid, signal.SIGABRT)
        until(lambda: process.exit_code() is not None)
        assert process.exit_code() == -signal.SIGABRT
        assert process.stop() == process.stop() == -signal.SIGABRT
        assert process.pid is None


def test_nothing_of_the_image_changes_a_launch(
    image: str, dense_path: Path, shape: ModelShape, tmp_path: Path
) -> None:
    """LLAMA_ARG_* of the image is gone, and it listens on loopback alone."""
    with open_rig(emulate=(400, 300), image=image) as rig:
        flags = launch_flags(rig, shape, dense_path)
        process = rig.runner.start(flags, log_path=tmp_path / "log")
        until(lambda: answers(process.base_url))
        running = psutil.Process(process.pid)
        variables = running.environ()
        listening = {
            c.laddr.ip for c in running.net_connections() if c.status == "LISTEN"
        }
        # Ended with the rig at the latest.
    assert not [name for name in variables if name.startswith("LLAMA_")]
    assert listening == {"127.0.0.1"}
    until(lambda: process.exit_code() is not None)


def test_a_killed_placer_leaves_what_the_next_removes(
    client: DockerClient,
    image: str,
    dense_path: Path,
    foreign: Container,
    tmp_path: Path,
) -> None:
    """Of kill -9 a container is left, and removed; no other is touched."""
    search = subprocess.Popen(
        optimize(
            f"{dense_path} --docker {image} --emulate 400,300 --ctx 8192 "
            f"--logs {tmp_path}"
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ours() -> list[str]:
        running = client.containers.list(filters={"label": "placer.role=search"})
        return [str(container.name) for container in running]

    until(lambda: bool(list(tmp_path.rglob("trials.jsonl"))) and bool(ours()))
    assert remove_orphans() == ()
    search.kill()
    search.wait()
    left = ours()
    assert remove_orphans() == tuple(left)
    assert [c.name for c in client.containers.list(all=True)] == [foreign.name]


def test_a_server_outlives_its_starter_and_is_found_again(
    image: str, dense_path: Path, shape: ModelShape, tmp_path: Path
) -> None:
    """By its id it is watched, its log caught up with and followed, and stopped."""
    log, home = tmp_path / "server.log", tmp_path / "home"
    with open_rig(emulate=(400, 300), image=image, folder=tmp_path) as rig:
        assert isinstance(rig.engine, ContainerEngine)
        started = serve_container(
            rig.engine,
            launch_flags(rig, shape, dense_path),
            profile="dense",
            config_home=home,
            port=free_port(),
        )
    server = find_container(started.id)
    assert server is not None
    with server.follow_log(log):
        until(lambda: answers(server.base_url))
        until(lambda: "listening" in log.read_text())
    server.copy_log(log)
    before = log.read_bytes()
    server.copy_log(log)
    assert log.read_bytes().count(b"listening") == before.count(b"listening") == 1
    assert remove_orphans() == ()
    assert server.exit_code() is None
    assert server.pid is not None
    assert [(s.id, s.profile, s.config_home) for s in served_containers()] == [
        (started.id, "dense", home)
    ]
    assert (server.image, server.argv[-1]) == (image, server.base_url[-5:].strip(":"))
    assert server.stop() == 0
    assert server.stop() is None
    assert find_container(started.id) is None


def test_a_question_that_is_not_answered_is_given_up(
    image: str, dense_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container is gone with the error."""
    with open_rig(emulate=(400, 300), image=image) as rig:
        monkeypatch.setattr("placer.engine.docker.engine.ASK_TIMEOUT_S", 0.3)
        with pytest.raises(MachineError, match=r"did not answer -m .* in 0\.3 s"):
            rig.engine.ask("-m", str(dense_path))


def test_a_program_that_is_not_in_the_image_is_said(image: str) -> None:
    """--server names a program inside; what it lacks is one line, and a hint."""
    with (
        pytest.raises(MachineError, match="/nowhere"),
        open_rig(emulate=(400, 300), image=image, server=Path("/nowhere")),
    ):
        pass
    with (
        pytest.raises(MachineError, match="docker pull no/such:image"),
        open_rig(emulate=(400, 300), image="no/such:image"),
    ):
        pass
