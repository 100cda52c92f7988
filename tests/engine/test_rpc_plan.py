"""A plan over RPC devices is launched as it stands, and answers.

The servers run in network namespaces of their own where those can be made, and on
loopback besides: what is skipped says why.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from datetime import date
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.app import PlanOptions, Request, Where, estimate, plan
from placer.app.rig import Rig, open_rig
from placer.engine.judge import Outcome, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Proof
from placer.errors import MachineError
from placer.machine import network as ways
from placer.machine.network import LOOPBACK_BYTES_PER_S, endpoint_of, with_network
from placer.placement import placement_args, placement_from_args
from placer.profiles import Edit, parse_conf, read_arguments
from placer.search.search import launch_args
from placer.testing import RpcDevices, models
from placer.testing.rpc import NetworkNamespaces
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from placer.app import Plan, Rated
    from placer.engine.observation import Observation
    from placer.placement import Placement

pytestmark = pytest.mark.engine

#: 77 MiB of weights, 4 MiB of them a layer's without its experts, and 8 MiB a layer's
#: experts; 4 MiB of cache a layer. Nothing is quantised, so the CPU computes it.
SHAPE = {"n_layer": 6, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4, "n_head": 8}
REQUEST = Request(values={"ctx": 4096, "ubatch": 64, "parallel": 1})
#: MiB that the model may take of each device.
LAYERS, PARTS, EXPERTS = (60, 70), (45, 45), (30, 30)
DAY = date(2026, 1, 2)


@pytest.fixture(scope="module")
def engine(bundled: Path) -> Path:
    """RPC devices need no emulation."""
    return bundled


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts in every layer."""
    folder = tmp_path_factory.mktemp("rpc-plan")
    return models.write_qwen3moe(folder / "moe.gguf", **SHAPE)


@pytest.fixture(scope="module", params=["namespaces", "loopback"])
def where(engine: Path, request: pytest.FixtureRequest) -> Iterator[Where]:
    """Two servers, each with a network of its own or both on this one."""
    with ExitStack() as stack:
        network = None
        if request.param == "namespaces":
            try:
                network = stack.enter_context(NetworkNamespaces(2))
            except MachineError as error:
                pytest.skip(f"no network namespaces can be made here: {error}")
        servers = stack.enter_context(RpcDevices(engine, [1, 1], network=network))
        yield Where(server=engine, rpc=servers.endpoints)


@pytest.fixture
def rig(engine: Path, where: Where) -> Iterator[Rig]:
    """What the plan is launched with."""
    with open_rig(server=engine, rpc=where.rpc) as rig:
        yield rig


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers as near as they are while nothing else runs: a slow way is avoided."""
    way = ways.Way(latency_s=1e-6, bytes_per_s=10e9)
    monkeypatch.setattr(ways, "_way_to", lambda _: way)


def planned(model: Path, where: Where, rig: Rig, room_mib: tuple[int, ...]) -> Plan:
    """The plan where no more than this may be taken of the devices."""
    free_mib = [device.free_bytes // MIB for device in rig.machine.devices]
    margins = tuple(f - room for f, room in zip(free_mib, room_mib, strict=True))
    options = PlanOptions(margins_mib=margins, baselines=False)
    return plan(str(model), where, REQUEST, options)


def launched(
    found: Plan, placement: Placement, rig: Rig, folder: Path
) -> tuple[Outcome, Observation]:
    """The placement with its context filled, as an optimisation launches it."""
    shape, workload = found.target.shape, found.target.workload
    path = str(found.target.file.path)
    args = launch_args(path, workload, (), placement, shape, rig.machine)
    test = LoadTest(
        runner=rig.runner,
        machine=rig.machine,
        shape=shape,
        workload=workload,
        free_now=rig.free_bytes,
    )
    seen = test.observe(
        args, log_path=folder / "launch.log", on_progress=lambda _: None
    )
    return judge(seen, rig.machine, Proof.FULL).outcome, seen


def held_mib(rated: Rated) -> list[float]:
    """What each device is to hold, by the engine's own dry run."""
    assert rated.dry_run is not None
    return [held.total_bytes / MIB for held in rated.dry_run.devices]


def engines() -> list[int]:
    """The llama-servers that this process has started and that still run."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.name() == "llama-server"]


@pytest.mark.parametrize("room_mib", [LAYERS, PARTS, EXPERTS])
def test_a_plan_over_two_servers_is_launched_as_it_stands(
    model: Path,
    where: Where,
    rig: Rig,
    near: None,
    tmp_path: Path,
    room_mib: tuple[int, ...],
) -> None:
    """Both hold something and neither more than it may; the context is filled."""
    found = planned(model, where, rig, room_mib)
    best = found.candidates[0]
    held = held_mib(best)
    assert all(0 < mib <= room for mib, room in zip(held, room_mib, strict=True))
    placement = best.candidate.placement
    assert min(placement.split) > 0
    assert placement_from_args(best.args, found.target.shape, rig.machine) == placement

    outcome, seen = launched(found, placement, rig, tmp_path)

    assert outcome is Outcome.FITS
    assert seen.prompt_tokens > 4000
    assert seen.single is not None
    assert seen.single.decoded_tokens > 0
    assert engines() == []


def test_experts_are_on_the_cpu_where_caches_leave_no_room(
    model: Path, where: Where, rig: Rig, near: None
) -> None:
    """All layers keep their caches on the devices: the CPU reads them slower."""
    best = planned(model, where, rig, EXPERTS).candidates[0].candidate.placement
    moved = {e.tensor for e in best.exceptions if e.buffer == "CPU"}
    assert sum(best.split) == SHAPE["n_layer"] + 1
    assert moved
    assert all("_exps" in tensor for tensor in moved)


def test_tensors_can_be_sent_to_the_other_server(
    model: Path, where: Where, rig: Rig, tmp_path: Path
) -> None:
    """By the name of its memory, which models.conf holds and reads back."""
    buffer = rig.machine.devices[1].buffer_type
    flags = ("-ngl", "7", "-ts", "5,2", "-ot", rf"blk\.[12]\..*exps={buffer}")
    shape = estimate(str(model), where, REQUEST, flags).target.shape
    placement = placement_from_args(flags, shape, rig.machine)
    assert {e.buffer for e in placement.exceptions} == {buffer}

    written = placement_args(placement, shape, rig.machine)
    conf = parse_conf(b"[it]\nMODEL=moe.gguf\n", tmp_path / "models.conf")
    edit = Edit(on=DAY, placement=tuple(written), workload=("--rpc", where.rpc or ""))
    arguments = read_arguments(conf.updated("it", edit).profile("it"))
    texts = [token for a in arguments for token in a.text.split()]
    assert where.rpc in texts
    assert placement_from_args(texts, shape, rig.machine) == placement

    found = planned(model, where, rig, LAYERS)
    outcome, seen = launched(found, placement, rig, tmp_path)
    assert outcome is Outcome.FITS
    assert seen.single is not None
    assert engines() == []


def test_the_way_to_each_server_is_measured(rig: Rig, where: Where) -> None:
    """And its bandwidth only where it ends on this machine."""
    assert where.rpc is not None
    for device, endpoint in zip(rig.machine.devices, where.rpc.split(","), strict=True):
        assert endpoint_of(device) == endpoint
        assert device.network_latency_s is not None
        assert 0 < device.network_latency_s < 0.1
        on_loopback = endpoint.startswith("127.")
        known = LOOPBACK_BYTES_PER_S if on_loopback else None
        assert device.network_bytes_per_s == known
        assert device.bandwidth is None
    assert rig.machine.host_bandwidth_bytes_per_s is not None


def test_a_busy_server_is_not_waited_for(rig: Rig, where: Where) -> None:
    """It serves one client at a time; what one connection said is taken."""
    assert where.rpc is not None
    host, _, port = where.rpc.split(",")[0].partition(":")
    with socket.create_connection((host, int(port))):
        first, second = with_network(rig.machine.devices, where.rpc)
    assert first.network_latency_s is not None
    assert second.network_latency_s is not None
