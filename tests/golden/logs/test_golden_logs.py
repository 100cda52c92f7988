"""Logs of several builds and backends, and the verdicts on them.

The Vulkan logs were printed by b10434 on emulated devices and cut to the telling
lines. The others are put together from the format strings of the same source and from
reports of users; each says in its name what it shows.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from placer.engine.dryrun import estimate_of
from placer.engine.judge import Outcome, Verdict, judge, judge_log
from placer.engine.log import Buffer, LogFacts, Phase, read_log
from placer.engine.observation import Observation, Proof, Stage
from placer.machine import Device, Machine
from placer.units import MIB, from_mib

HERE = Path(__file__).parent
RPC = "RPC0[127.0.0.1:50052]"
FREE_BYTES = 24_000 * MIB


def machine_of(*names: str) -> Machine:
    """A machine with these devices; of an RPC device, its buffer type is given."""
    devices = tuple(
        Device(
            name=name.split("[")[0],
            buffer_type=name,
            description="a card",
            total_bytes=FREE_BYTES,
            free_bytes=FREE_BYTES,
        )
        for name in names
    )
    return Machine(
        devices=devices, engine_build=None, host_total_bytes=0, host_free_bytes=0
    )


MACHINES = {
    "CUDA": machine_of("CUDA0", "CUDA1"),
    "ROCm": machine_of("ROCm0"),
    "Vulkan": machine_of("Vulkan0", "Vulkan1"),
    "RPC": machine_of(RPC),
}


def facts_of(name: str) -> LogFacts:
    """What the log of this name says."""
    text = (HERE / f"{name}.log").read_text(encoding="utf-8")
    return read_log(text.splitlines())


def verdict_on(
    name: str, backend: str, *, exit_code: int | None, stage: Stage, stalled: bool
) -> Verdict:
    """The judgement of a launch with this log."""
    machine = MACHINES[backend]
    seen = Observation(
        stage=stage,
        exit_code=exit_code,
        stalled=stalled,
        answer_error=None,
        facts=facts_of(name),
        free_bytes=tuple(d.free_bytes for d in machine.devices),
    )
    return judge(seen, machine, Proof.FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A log, how its engine ended, and what that was."""

    name: str
    backend: str
    outcome: Outcome
    device: str | None = None
    asked_mib: float | None = None
    given_mib: float = 0.0
    exit_code: int | None = 1
    stage: Stage = Stage.STARTED
    stalled: bool = False


GLM_KV = 20514.36  # model buffer of device 0 when its context was asked for
ABORT = -signal.SIGABRT
CASES = (
    Case(
        name="vulkan-b10434-weights",
        backend="Vulkan",
        outcome=Outcome.OOM_WEIGHTS,
        device="Vulkan0",
        asked_mib=17789440 / MIB,
    ),
    Case(
        name="vulkan-b10434-context",
        backend="Vulkan",
        outcome=Outcome.OOM_CONTEXT,
        device="Vulkan1",
        asked_mib=6.0,
        given_mib=10.43,
    ),
    Case(
        name="vulkan-b10434-compute",
        backend="Vulkan",
        outcome=Outcome.OOM_COMPUTE,
        device="Vulkan1",
        asked_mib=6367248 / MIB,
        given_mib=10.43 + 6.0,
    ),
    Case(
        name="vulkan-b10434-in-use",
        backend="Vulkan",
        outcome=Outcome.OOM_IN_USE,
        device="Vulkan1",
        asked_mib=532959232 / MIB,
        exit_code=None,
        stage=Stage.LOADED,
    ),
    Case(
        name="vulkan-b10434-image-unheeded",
        backend="Vulkan",
        outcome=Outcome.OOM_IN_USE,
        device="Vulkan0",
        asked_mib=4759552 / MIB,
        given_mib=3.38 + 6.0 + 5.51,
        exit_code=-signal.SIGSEGV,
        stage=Stage.LOADED,
    ),
    Case(
        name="vulkan-b10434-unpinned-then-hung",
        backend="Vulkan",
        outcome=Outcome.STALLED,
        exit_code=None,
        stalled=True,
    ),
    Case(
        name="vulkan-b10434-retried",
        backend="Vulkan",
        outcome=Outcome.FITS,
        exit_code=None,
        stage=Stage.DECODED,
    ),
    Case(
        name="vulkan-b10434-served",
        backend="Vulkan",
        outcome=Outcome.CRASHED,
        exit_code=0,
        stage=Stage.LOADED,
    ),
    Case(
        name="cuda-b10434-weights",
        backend="CUDA",
        outcome=Outcome.OOM_WEIGHTS,
        device="CUDA1",
        asked_mib=14804611072 / MIB,
    ),
    Case(
        name="cuda-b10434-context",
        backend="CUDA",
        outcome=Outcome.OOM_CONTEXT,
        device="CUDA0",
        asked_mib=3672.0,
        given_mib=GLM_KV,
    ),
    Case(
        name="cuda-b10434-recurrent",
        backend="CUDA",
        outcome=Outcome.OOM_CONTEXT,
        device="CUDA0",
        asked_mib=618.75,
        given_mib=21514.36 + 1632.0,
    ),
    Case(
        name="cuda-b10434-compute",
        backend="CUDA",
        outcome=Outcome.OOM_COMPUTE,
        device="CUDA1",
        asked_mib=935602176 / MIB,
        given_mib=11012.11 + 1020.0,
    ),
    Case(
        name="cuda-b4800-compute",
        backend="CUDA",
        outcome=Outcome.OOM_COMPUTE,
        device="CUDA0",
        asked_mib=935602176 / MIB,
        given_mib=21514.36 + 1632.0,
    ),
    Case(
        name="cuda-b10434-graph-in-use",
        backend="CUDA",
        outcome=Outcome.OOM_IN_USE,
        device="CUDA0",
        asked_mib=532959232 / MIB,
        given_mib=GLM_KV + 2652.0 + 304.75,
        exit_code=None,
        stage=Stage.LOADED,
    ),
    Case(
        name="cuda-b10434-pool-in-use",
        backend="CUDA",
        outcome=Outcome.OOM_IN_USE,
        device="CUDA1",
        exit_code=ABORT,
        stage=Stage.LOADED,
    ),
    Case(
        name="rocm-b10434-pool-in-use",
        backend="ROCm",
        outcome=Outcome.OOM_IN_USE,
        device="ROCm0",
        exit_code=128 + signal.SIGABRT,
        stage=Stage.LOADED,
    ),
    Case(
        name="cuda-b10434-assert",
        backend="CUDA",
        outcome=Outcome.CRASHED,
        exit_code=ABORT,
        stage=Stage.LOADED,
    ),
    Case(
        name="cuda-b10434-illegal-access",
        backend="CUDA",
        outcome=Outcome.CRASHED,
        exit_code=ABORT,
        stage=Stage.LOADED,
    ),
    Case(
        name="cuda-b10434-retried-then-assert",
        backend="CUDA",
        outcome=Outcome.CRASHED,
        exit_code=ABORT,
        stage=Stage.LOADED,
    ),
    Case(
        name="rpc-b10434-weights",
        backend="RPC",
        outcome=Outcome.OOM_WEIGHTS,
        device=RPC,
        asked_mib=17789440 / MIB,
    ),
    Case(
        name="rpc-b10434-server-died",
        backend="RPC",
        outcome=Outcome.CRASHED,
        exit_code=ABORT,
        stage=Stage.LOADED,
    ),
    Case(name="b10434-port-taken", backend="CUDA", outcome=Outcome.REFUSED),
    Case(name="b10434-model-cut-off", backend="CUDA", outcome=Outcome.REFUSED),
    Case(name="b10434-quantized-v-refused", backend="CUDA", outcome=Outcome.REFUSED),
    Case(name="b10434-unknown-architecture", backend="CUDA", outcome=Outcome.REFUSED),
    Case(name="b10434-unknown-buffer", backend="CUDA", outcome=Outcome.REFUSED),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_log_has_its_verdict(case: Case) -> None:
    """Outcome, device, bytes asked and bytes free are those that the log shows."""
    verdict = verdict_on(
        case.name,
        case.backend,
        exit_code=case.exit_code,
        stage=case.stage,
        stalled=case.stalled,
    )
    assert verdict.outcome is case.outcome
    assert verdict.device == case.device
    asked = None if case.asked_mib is None else from_mib(case.asked_mib)
    assert verdict.asked_bytes == asked
    if case.device is not None:
        # Each buffer line is rounded to 0.01 MiB, and rounded to bytes on its own.
        free_bytes = FREE_BYTES - from_mib(case.given_mib)
        assert verdict.free_bytes == pytest.approx(free_bytes, abs=4)
    if case.outcome is not Outcome.FITS:
        assert verdict.evidence


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_log_alone_has_the_same_verdict(case: Case) -> None:
    """The rules are the same without an observation; a log only proves no fit.

    Who watched knows more of two things: that nothing moves, and that a server which
    ended by itself was not told to.
    """
    alone = {Outcome.FITS: Outcome.OK, Outcome.STALLED: Outcome.UNKNOWN}
    expected = alone.get(case.outcome, case.outcome)
    if case.name == "vulkan-b10434-served":
        expected = Outcome.OK
    for exit_code in (case.exit_code, None):
        verdict = judge_log(facts_of(case.name), exit_code=exit_code)
        assert verdict.outcome is expected
        name = None if case.device is None else case.device.split("[")[0]
        assert verdict.device == name
        if case.asked_mib is not None:
            assert verdict.asked_bytes == from_mib(case.asked_mib)


def test_every_log_is_judged() -> None:
    """No log lies here without a verdict or a reading."""
    read_elsewhere = {"vulkan-b10434-dry-run", "vulkan-b10434-fit", "b11434-splits"}
    names = {path.stem for path in HERE.glob("*.log")}
    assert names == {case.name for case in CASES} | read_elsewhere


def test_a_served_log_is_read_in_full() -> None:
    """Buffers, splits, pipelining and the last table are what the engine printed."""
    facts = facts_of("vulkan-b10434-served")
    assert facts.ready
    assert facts.pipelined
    assert not facts.retried
    assert facts.graph_splits == (3, 3)
    assert facts.failures == ()
    assert facts.failed_phase is None
    weights = [b for b in facts.buffers if b.phase is Phase.WEIGHTS]
    assert weights == [
        Buffer(device="CPU_Mapped", phase=Phase.WEIGHTS, n_bytes=from_mib(0.25)),
        Buffer(device="Vulkan0", phase=Phase.WEIGHTS, n_bytes=from_mib(16.97)),
        Buffer(device="Vulkan1", phase=Phase.WEIGHTS, n_bytes=from_mib(10.43)),
    ]
    context = [b.n_bytes // MIB for b in facts.buffers if b.phase is Phase.CONTEXT]
    assert context == [10, 6]
    rows = {row.device: row for row in facts.breakdown}
    assert list(rows) == ["Vulkan0", "Vulkan1", "Host"]
    assert rows["Vulkan1"].free_bytes == 2048 * MIB
    assert rows["Host"].total_bytes is None


def test_a_retried_launch_is_told_from_a_failed_one() -> None:
    """Failures that the engine got over are no failures, and the pipeline is off."""
    facts = facts_of("vulkan-b10434-retried")
    assert facts.retried
    assert not facts.pipelined
    assert facts.failures == ()
    assert facts.aborted is None
    assert facts.ready
    compute = [b.n_bytes for b in facts.buffers if b.phase is Phase.COMPUTE]
    assert compute == [from_mib(6.07), from_mib(6.07), from_mib(5.01)]


def test_free_memory_below_1000_mib_is_read() -> None:
    """Numbers of the table stand in columns, with spaces before the short ones."""
    rows = {row.device: row for row in facts_of("vulkan-b10434-retried").breakdown}
    assert rows["Vulkan0"].free_bytes == 1 * MIB
    assert rows["Vulkan0"].total_bytes == 35 * MIB
    assert rows["Vulkan1"].compute_bytes == 6 * MIB


def test_a_dry_run_is_an_estimate() -> None:
    """The table before the load, with compute buffers to 0.01 MiB, is the estimate."""
    estimate = estimate_of(facts_of("vulkan-b10434-dry-run"), MACHINES["Vulkan"])
    assert estimate is not None
    parts = [
        (d.model_bytes, d.context_bytes, d.compute_bytes) for d in estimate.devices
    ]
    assert parts == [
        (16 * MIB, 10 * MIB, from_mib(20.10)),
        (10 * MIB, 6 * MIB, from_mib(22.10)),
    ]
    assert estimate.host.compute_bytes == 17 * MIB
    assert estimate.source == "dry-run"


def test_a_table_of_other_devices_is_no_estimate() -> None:
    """Devices that the table does not name are not taken to hold nothing."""
    facts = facts_of("vulkan-b10434-dry-run")
    assert estimate_of(facts, MACHINES["CUDA"]) is None
    assert estimate_of(LogFacts(), MACHINES["Vulkan"]) is None


def test_both_spellings_of_graph_splits_are_read() -> None:
    """``9 / 33`` of newer builds, ``9 (with bs=512), 33 (with bs=1)`` of older ones."""
    assert facts_of("b11434-splits").graph_splits == (9, 33)
    old = "sched_reserve: graph splits = 9 (with bs=512), 33 (with bs=1)"
    assert read_log([old]).graph_splits == (9, 33)


def test_an_abort_names_its_cause() -> None:
    """The line of the abort is among the evidence of a crash."""
    for name, word in (
        ("cuda-b10434-assert", "GGML_ASSERT"),
        ("rpc-b10434-server-died", "Remote RPC server crashed"),
        ("cuda-b10434-illegal-access", "illegal memory access"),
    ):
        verdict = verdict_on(
            name, "CUDA", exit_code=ABORT, stage=Stage.LOADED, stalled=False
        )
        assert word in " ".join(verdict.evidence)
