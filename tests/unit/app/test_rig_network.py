"""A worse network never helps: what a plan over a described RPC device promises."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.app import PlanOptions, Request, Where, plan
from placer.plan.plan import ALIKE
from placer.testing.models import write_qwen3moe

if TYPE_CHECKING:
    from placer.app import Plan
    from placer.placement import TensorException

REQUEST = Request(values={"ctx": 512, "ubatch": 64, "parallel": 1})
# RPC devices come first in the list that the engine makes for itself.
REMOTE = 0
MACHINE = """
[[devices]]
backend = "RPC"
total_mib = {rpc}
bandwidth_gb_per_s = 1000
network_gbit_per_s = {gbit}
network_latency_us = {latency}

[[devices]]
backend = "CUDA"
total_mib = {cuda}
bandwidth_gb_per_s = 1000

[host]
total_mib = 64000
free_mib = 56000
bandwidth_gb_per_s = {host}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 MiB, most of it experts."""
    path = tmp_path_factory.mktemp("network") / "moe.gguf"
    return write_qwen3moe(path, n_layer=6, n_expert=16, n_ff_exp=512)


def planned(model: Path, **figures: float) -> Plan:
    """The plan on a machine of these figures."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "described.toml"
        path.write_text(MACHINE.format(**figures))
        where = Where(machine=str(path), ledger=path.with_suffix(".jsonl"))
        return plan(str(model), where, REQUEST, PlanOptions(baselines=False))


def remote_hops(found: Plan) -> int:
    """How often a token changes to the remote device, or from it."""
    placement = found.candidates[0].candidate.placement
    homes = placement.slot_devices(found.target.shape.n_slots)
    there = [home == REMOTE for home in homes]
    torn = {
        layer
        for layer, is_sent in map(_moved, placement.exceptions)
        if is_sent or there[layer]
    }
    return sum(a != b for a, b in pairwise(there)) + 2 * len(torn)


def _moved(exception: TensorException) -> tuple[int, bool]:
    """The layer of a tensor that does not follow it, and whether it is remote."""
    return int(exception.tensor.split(".")[1]), exception.buffer == "RPC0"


@settings(max_examples=12)
@given(
    cuda=st.integers(300, 360),
    rpc=st.integers(20, 120),
    host=st.sampled_from([5, 30, 90]),
    latency=st.tuples(st.integers(1, 3000), st.integers(1, 3000)).map(sorted),
    gbit=st.tuples(st.sampled_from([0.1, 1, 10]), st.sampled_from([0.1, 1, 10])).map(
        sorted
    ),
)
def test_a_worse_network_is_never_predicted_to_be_faster(
    model: Path,
    cuda: int,
    rpc: int,
    host: int,
    latency: list[int],
    gbit: list[float],
) -> None:
    """Beyond what the planner says that it may have missed, and what is alike to it."""
    near = planned(
        model, cuda=cuda, rpc=rpc, host=host, latency=latency[0], gbit=gbit[1]
    )
    far = planned(
        model, cuda=cuda, rpc=rpc, host=host, latency=latency[1], gbit=gbit[0]
    )
    first, second = near.candidates[0].candidate, far.candidates[0].candidate
    missed = 1 + (first.gap or 0.0)
    assert first.speed is not None
    assert second.speed is not None
    assert second.speed.decode.mid <= first.speed.decode.mid * missed * ALIKE


@pytest.mark.parametrize(("cuda", "rpc"), [(285, 30), (300, 25)])
def test_a_slow_network_is_crossed_less_often(model: Path, cuda: int, rpc: int) -> None:
    """Down to never, where the CPU is nearer than the other machine."""
    hops = [
        remote_hops(planned(model, cuda=cuda, rpc=rpc, host=20, latency=us, gbit=10))
        for us in (1, 30, 100, 300, 3000)
    ]
    assert hops[0] > 0
    assert hops == sorted(hops, reverse=True)
    assert hops[-1] == 0
