"""What holds of any engine: the fake one and the real one on emulated devices."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import pytest

from placer.app.rig import Rig, open_rig
from placer.engine.binary import Engine
from placer.engine.dryrun import dry_run
from placer.engine.judge import Outcome, Verdict
from placer.engine.loadtest import LoadTest
from placer.engine.log import Phase
from placer.engine.observation import Observation, Proof, Stage
from placer.engine.process import LocalRunner
from placer.gguf import read_gguf
from placer.memory import MemoryEstimate, estimate_memory
from placer.model import ModelShape, model_shape
from placer.placement import Placement, Workload
from placer.plan.pipelining import unpipelined
from placer.search.search import launch_args
from placer.testing.fake_engine import fake_engine
from placer.testing.fake_shapes import fake_machine
from placer.testing.launch import launched
from placer.units import MIB, pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.engine.process import EngineProcess, Runner

WORKLOAD = Workload(ctx=8192, batch=512, ubatch=512, parallel=2)
# So short that emulated devices read it in seconds.
SHORT = Workload(ctx=256, batch=64, ubatch=64, parallel=2)
BOTH = Placement(split=(3, 3))
OUTCOMES = {
    Phase.WEIGHTS: Outcome.OOM_WEIGHTS,
    Phase.CONTEXT: Outcome.OOM_CONTEXT,
    Phase.COMPUTE: Outcome.OOM_COMPUTE,
}


class OpenRig(Protocol):
    """An engine on two devices of so many MiB."""

    def __call__(self, *capacities_mib: int) -> AbstractContextManager[Rig]:
        """Open it."""


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRig:
    """The fake engine, or the real one on emulated devices."""

    @contextmanager
    def fake(*capacities_mib: int) -> Iterator[Rig]:
        devices = {f"Vulkan{i}": mib for i, mib in enumerate(capacities_mib)}
        with open_rig(server=fake_engine(tmp_path, devices=devices)) as rig:
            yield rig

    @contextmanager
    def real(*capacities_mib: int) -> Iterator[Rig]:
        with open_rig(emulate=capacities_mib) as rig:
            yield rig

    return fake if request.param == "fake" else real


@dataclass(slots=True)
class Recorder:
    """A runner that remembers what it started."""

    runner: Runner
    started: list[EngineProcess] = field(default_factory=list)

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Start it, as the runner inside does."""
        self.started.append(self.runner.start(args, log_path=log_path))
        return self.started[-1]


@dataclass(slots=True, kw_only=True)
class Bench:
    """One engine with one model: launches, and what came of them."""

    rig: Rig
    shape: ModelShape
    model: Path
    folder: Path
    workload: Workload = WORKLOAD
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.rig.runner)

    def args(self, placement: Placement) -> list[str]:
        """The flags of a launch."""
        model, machine = str(self.model), self.rig.machine
        flags = launch_args(model, self.workload, (), placement, self.shape, machine)
        return [*flags, "--no-warmup"]

    def observe(
        self,
        placement: Placement,
        *,
        proof: Proof = Proof.LOAD,
        extra: Sequence[str] = (),
        on_progress: Callable[[LoadProgress], None] = lambda _: None,
    ) -> tuple[Observation, Verdict]:
        """Launch, and judge."""
        test = LoadTest(
            runner=self.recorder,
            machine=self.rig.machine,
            shape=self.shape,
            workload=self.workload,
            proof=proof,
        )
        args = [*self.args(placement), *extra]
        return launched(test, args, self.folder / "launch.log", on_progress)

    def dry_run(self, placement: Placement) -> MemoryEstimate:
        """What the engine says that the placement would hold."""
        said = dry_run(
            self.recorder,
            self.args(placement),
            self.rig.machine,
            log_path=self.folder / "dry-run.log",
        )
        assert said is not None
        return said

    def left_running(self) -> list[EngineProcess]:
        """What it started and did not end."""
        return [p for p in self.recorder.started if p.exit_code() is None]


@pytest.fixture
def shape(dense_path: Path) -> ModelShape:
    """The dense model."""
    return model_shape(read_gguf(dense_path))


@pytest.fixture
def make_bench(
    dense_path: Path, shape: ModelShape, tmp_path: Path
) -> Callable[[Rig], Bench]:
    """A bench with the dense model."""

    def make(rig: Rig) -> Bench:
        return Bench(rig=rig, shape=shape, model=dense_path, folder=tmp_path)

    return make


def formula(shape: ModelShape, placement: Placement) -> MemoryEstimate:
    """What placer expects, on devices without limit."""
    machine = fake_machine([0, 0])
    return estimate_memory(shape, WORKLOAD, placement, machine)


def capacity_short_of(shape: ModelShape, phase: Phase, device: int) -> tuple[int, int]:
    """MiB of two devices, of which one gives out in this phase."""
    held = formula(shape, BOTH).devices
    parts = [
        (d.model_bytes, d.context_bytes or 0, 0 if d.compute_bytes is None else MIB)
        for d in held
    ]
    count = [Phase.WEIGHTS, Phase.CONTEXT, Phase.COMPUTE].index(phase)
    # Half of the part that it gives out in: neither rounding nor alignment matters.
    short = sum(parts[device][:count]) + parts[device][count] // 2
    capacities = [400, 400]
    capacities[device] = pad(short, MIB) // MIB
    return capacities[0], capacities[1]


def test_a_launch_that_fits_is_seen_to_fit(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """It loads, is judged FITS, and is gone afterwards."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        seen, verdict = bench.observe(BOTH)
        assert verdict.outcome is Outcome.FITS
        assert seen.stage is Stage.LOADED
        assert seen.exit_code is None
        assert seen.facts.ready
        assert seen.load_s is not None
        assert bench.left_running() == []


def test_a_full_context_is_filled_and_timed(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """All slots together read the whole context; then one slot alone is timed."""
    progress: list[LoadProgress] = []
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        bench.workload = SHORT
        seen, verdict = bench.observe(
            BOTH, proof=Proof.FULL, on_progress=progress.append
        )
    assert verdict.outcome is Outcome.FITS, verdict
    assert seen.stage is Stage.DECODED
    # Each slot decodes 16 tokens, and stops short of its last cells.
    assert 2 * 16 <= SHORT.ctx - seen.prompt_tokens <= 2 * 20
    assert seen.prompt_tokens_per_s is not None
    assert seen.single is not None
    assert seen.single.prompt_tokens == SHORT.ubatch
    assert seen.single.decoded_tokens_per_s > 0
    filling = [p for p in progress if p.stage is Stage.LOADED and p.total_tokens]
    assert max(p.done_tokens for p in filling) <= filling[0].total_tokens


def test_a_prompt_in_every_slot_is_proof_where_it_is_asked_for(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """Two slots read a physical batch each; the context is not filled."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        bench.workload = SHORT
        seen, verdict = bench.observe(BOTH, proof=Proof.PROMPT)
    assert verdict.outcome is Outcome.FITS, verdict
    assert seen.stage is Stage.PROMPTED
    assert seen.prompt_tokens == SHORT.parallel * SHORT.ubatch
    assert seen.prompt_tokens_per_s is not None
    assert seen.single is None


@pytest.mark.parametrize("device", [0, 1])
@pytest.mark.parametrize("phase", OUTCOMES, ids=lambda phase: phase.value)
def test_over_capacity_is_out_of_memory(
    open_engine: OpenRig,
    make_bench: Callable[[Rig], Bench],
    shape: ModelShape,
    phase: Phase,
    device: int,
) -> None:
    """The verdict names phase and device; the engine ended by itself, with 1."""
    with open_engine(*capacity_short_of(shape, phase, device)) as rig:
        bench = make_bench(rig)
        seen, verdict = bench.observe(BOTH)
        assert verdict.outcome is OUTCOMES[phase], verdict
        assert verdict.phase is phase
        assert verdict.device == f"Vulkan{device}"
        assert seen.exit_code == 1
        assert verdict.asked_bytes is not None
        assert verdict.free_bytes is not None
        assert verdict.asked_bytes > verdict.free_bytes
        assert bench.left_running() == []


def test_the_dry_run_confirms_the_formula(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """Weights and context of each device agree within 1 MiB."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        for placement in (BOTH, Placement(split=(5, 1)), Placement(split=(2, 0))):
            said = bench.dry_run(placement)
            expected = formula(bench.shape, placement)
            for one, other in zip(said.devices, expected.devices, strict=True):
                assert abs(one.model_bytes - other.model_bytes) < MIB
                assert one.context_bytes is not None
                assert other.context_bytes is not None
                assert abs(one.context_bytes - other.context_bytes) < MIB
        assert bench.left_running() == []


def test_what_is_left_is_told_in_the_end(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """The last table counts what the launch held as used."""
    with open_engine(400, 300) as rig:
        seen, _ = make_bench(rig).observe(BOTH)
    rows = {row.device: row for row in seen.facts.breakdown}
    for name, total_mib in (("Vulkan0", 400), ("Vulkan1", 300)):
        row = rows[name]
        held = row.model_bytes + row.context_bytes + row.compute_bytes
        assert row.total_bytes == total_mib * MIB
        assert row.free_bytes is not None
        assert abs(row.total_bytes - held - row.free_bytes) <= 4 * MIB


def test_a_pipeline_is_given_up_where_it_does_not_fit(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """Between both sizes of compute buffers a launch fits, without pipelining."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        most = bench.dry_run(BOTH).devices[0]
        least = bench.dry_run(unpipelined(BOTH)).devices[0]
    assert most.compute_bytes is not None
    assert least.compute_bytes is not None
    assert most.compute_bytes > least.compute_bytes + 4 * MIB
    between = (most.total_bytes + least.total_bytes) // 2 // MIB
    with open_engine(between, 400) as rig:
        seen, verdict = make_bench(rig).observe(BOTH)
    assert verdict.outcome is Outcome.FITS
    assert seen.facts.retried
    assert not seen.facts.pipelined


def test_stop_may_be_called_twice(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """The second stop changes nothing, and the log is there to be read."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        log_path = bench.folder / "stopped.log"
        process = bench.recorder.start(
            [*bench.args(BOTH), "--fit", "off", "-lv", "4"], log_path=log_path
        )
        assert process.exit_code() is None
        first = process.stop()
        assert process.stop() == first == process.exit_code()
        assert process.log_path == log_path
        assert log_path.exists()


def test_an_interrupted_launch_leaves_no_process(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """Ctrl-C while it loads ends the engine, and goes on as Ctrl-C."""

    def interrupt(_: LoadProgress) -> None:
        raise KeyboardInterrupt

    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        with pytest.raises(KeyboardInterrupt):
            bench.observe(BOTH, on_progress=interrupt)
        assert len(bench.recorder.started) == 1
        assert bench.left_running() == []


def test_the_users_environment_does_not_leak_in(
    open_engine: OpenRig,
    make_bench: Callable[[Rig], Bench],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LLAMA_ARG_* would move tensors to the CPU; it does not reach the engine."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        clean = bench.dry_run(BOTH)
        monkeypatch.setenv("LLAMA_ARG_OVERRIDE_TENSOR", "ffn_.*=CPU")
        assert bench.dry_run(BOTH) == clean
        # The same variable does work where it is let through.
        variables = {**rig.engine.variables, "LLAMA_ARG_OVERRIDE_TENSOR": "ffn_.*=CPU"}
        assert isinstance(rig.engine, Engine)
        let_through = replace(rig.engine, variables=variables)
        bench.recorder.runner = LocalRunner(let_through)
        moved = bench.dry_run(BOTH).devices[0].model_bytes
        assert moved < clean.devices[0].model_bytes


def test_an_unknown_flag_is_refused(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """A flag that the engine does not know is no verdict on size."""
    with open_engine(400, 400) as rig:
        _, verdict = make_bench(rig).observe(BOTH, extra=["--no-such-flag"])
    assert verdict.outcome is Outcome.REFUSED
    assert "--no-such-flag" in " ".join(verdict.evidence)


def test_a_damaged_model_is_refused(
    open_engine: OpenRig, make_bench: Callable[[Rig], Bench]
) -> None:
    """A file that ends early is refused, not taken for too large."""
    with open_engine(400, 400) as rig:
        bench = make_bench(rig)
        whole = bench.model.read_bytes()
        bench.model = bench.folder / "cut.gguf"
        bench.model.write_bytes(whole[: len(whole) // 2])
        _, verdict = bench.observe(BOTH)
    assert verdict.outcome is Outcome.REFUSED


def test_an_engine_says_what_it_is(open_engine: OpenRig) -> None:
    """Build and devices are as the engine prints them."""
    with open_engine(123, 45) as rig:
        build, _, commit = rig.engine.build.partition(" ")
        assert build.isdigit()
        assert commit.startswith("(")
        sizes = [(d.name, d.total_bytes, d.free_bytes) for d in rig.machine.devices]
    assert sizes == [
        ("Vulkan0", 123 * MIB, 123 * MIB),
        ("Vulkan1", 45 * MIB, 45 * MIB),
    ]
