"""The engine's own ``--fit``: what it came to, told from its log, and nothing read."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.app.rig import machine_of
from placer.engine.binary import Engine, list_devices
from placer.engine.dryrun import MEASURED, dry_run, estimate_of
from placer.engine.fit import FitAnswer, FitLog, fit
from placer.engine.log import read_log
from placer.engine.process import LocalRunner
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement.flags import placement_args
from placer.testing import EmulatedMachine
from placer.testing.accuracy.models import big_models
from placer.testing.models import write_qwen3moe
from placer.testing.phantom import write_phantom
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess
    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.model import ModelShape

pytestmark = pytest.mark.engine

DESKTOP = (23671, 12761)
MARGIN_MIB = 1024
SMALL = ("-c", "2048", "-b", "512", "-ub", "64", "-np", "1")
FULL = ("-c", "131072", "-b", "2048", "-ub", "512", "-np", "1")
# Weights of the phantom of gpt-oss-120b are twenty times that.
MOST_RESIDENT_BYTES = 3 * GIB


class Watched:
    """A runner that knows the most memory that was resident in what it started."""

    def __init__(self, runner: LocalRunner) -> None:
        self._runner = runner
        self.peak_bytes = 0

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        process = self._runner.start(args, log_path=log_path)
        watched = psutil.Process(process.pid)
        threading.Thread(target=self._watch, args=(watched,), daemon=True).start()
        return process

    def _watch(self, process: psutil.Process) -> None:
        try:
            while process.status() != psutil.STATUS_ZOMBIE:
                self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
                time.sleep(0.002)
        except psutil.NoSuchProcess:
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An engine on emulated devices."""

    machine: Machine
    runner: Watched
    log_path: Path

    def fit(self, args: Sequence[str], shape: ModelShape, *mib: int) -> FitAnswer:
        """What ``--fit`` comes to that keeps so many MiB free."""
        margins = [n * MIB for n in mib]
        answer = fit(
            self.runner, args, shape, self.machine, margins, log_path=self.log_path
        )
        assert answer is not None
        return answer

    def tried(self, answer: FitAnswer, shape: ModelShape) -> MemoryEstimate:
        """What the fit measured when it tried the placement that it came to."""
        found = [
            estimate_of(read_log(lines), self.machine)
            for lines in self._trials()
            if self._placement_of(lines, shape) == answer.placement
        ]
        assert found
        assert found[-1] is not None
        return found[-1]

    def _trials(self) -> Iterator[list[str]]:
        """The lines about each model that the fit made, to its memory table."""
        lines: list[str] = []
        for line in self.log_path.read_text("utf-8", "replace").splitlines():
            lines.append(line)
            if MEASURED in line:
                return
            if "|   - Host " in line:
                yield lines
                lines = []

    def _placement_of(self, lines: list[str], shape: ModelShape) -> object:
        log = FitLog()
        for line in (f"{MEASURED} 0.00 seconds", *lines):
            log.feed(line)
        answer = log.answer(shape, self.machine)
        return answer and answer.placement

    def dry_run(self, args: Sequence[str], shape: ModelShape) -> MemoryEstimate:
        """The engine's dry run of flags."""
        log_path = self.log_path.with_name("dry-run.log")
        said = dry_run(self.runner, args, self.machine, log_path=log_path)
        assert said is not None
        return said

    def require_the_same(
        self, args: Sequence[str], shape: ModelShape, answer: FitAnswer
    ) -> list[int]:
        """The flags mean what the fit tried; what they leave free, in MiB."""
        flags = placement_args(answer.placement, shape, self.machine)
        said = self.dry_run([*args, *flags], shape)
        assert said == self.tried(answer, shape)
        return [
            device.free_bytes // MIB - (held.total_bytes or 0) // MIB
            for device, held in zip(self.machine.devices, said.devices, strict=True)
        ]


@contextmanager
def bench(engine: Path, folder: Path, *capacities_mib: int) -> Iterator[Bench]:
    """The engine on devices of so many MiB."""
    home = folder / "home"
    home.mkdir()
    with EmulatedMachine(capacities_mib) as emulated:
        described = Engine(binary=engine, config_home=home, variables=emulated.env)
        yield Bench(
            machine=machine_of(list_devices(described), "a build"),
            runner=Watched(LocalRunner(described)),
            log_path=folder / "fit.log",
        )


def of_file(path: Path, *args: str) -> tuple[list[str], ModelShape]:
    """The flags of a launch without placement, and the model's shape."""
    return ["-m", str(path), *args], model_shape(read_gguf(path))


def test_experts_that_overflow_are_told(engine: Path, tmp_path: Path) -> None:
    """gpt-oss-120b: whole layers, parts of layers on the next device and on the CPU."""
    path = write_phantom("gpt-oss-120b-F16", tmp_path)
    args, shape = of_file(path, *FULL)
    with bench(engine, tmp_path, *DESKTOP) as on:
        answer = on.fit(args, shape, MARGIN_MIB, MARGIN_MIB)
        resident_bytes = on.runner.peak_bytes
        free_mib = on.require_the_same(args, shape, answer)

    assert answer.changed
    assert answer.message is None
    assert answer.seconds > 0
    assert answer.placement.split == (12, 25)
    buffers = {e.tensor: e.buffer for e in answer.placement.exceptions}
    assert buffers["blk.11.ffn_down_exps.weight"] == "Vulkan1"
    assert buffers["blk.15.ffn_gate_inp.weight"] == "CPU"
    assert buffers["blk.35.ffn_up_exps.bias"] == "CPU"
    assert set(buffers.values()) == {"Vulkan1", "CPU"}
    assert min(free_mib) >= MARGIN_MIB
    assert 0 < resident_bytes < MOST_RESIDENT_BYTES


@pytest.mark.parametrize(("ctx", "changed"), [("32768", False), ("131072", True)])
def test_shared_experts_overflow_with_the_others(
    engine: Path, tmp_path: Path, ctx: str, *, changed: bool
) -> None:
    """GLM-4.7-Flash by its defaults where they do, with shared experts moved if not."""
    path = write_phantom("GLM-4.7-Flash-Q8_0", tmp_path)
    args, shape = of_file(path, *FULL, "-c", ctx)
    with bench(engine, tmp_path, *DESKTOP) as on:
        answer = on.fit(args, shape, MARGIN_MIB, MARGIN_MIB)
        free_mib = on.require_the_same(args, shape, answer)

    assert answer.changed is changed
    assert answer.message is None
    assert answer.placement.n_gpu_layers == shape.n_slots
    moved = {e.tensor for e in answer.placement.exceptions}
    assert any("_shexp" in name for name in moved) is changed
    assert bool(moved) is changed
    assert min(free_mib) >= MARGIN_MIB


@pytest.mark.parametrize(
    ("capacities", "margins", "split"),
    [((60,), (20,), (5,)), ((60, 60), (45, 45), (1, 2)), ((60, 60), (20, 40), (4, 2))],
)
def test_a_dense_model_leaves_its_first_layers_behind(
    engine: Path,
    dense_path: Path,
    tmp_path: Path,
    capacities: Sequence[int],
    margins: Sequence[int],
    split: Sequence[int],
) -> None:
    """Whole layers only, on one device or two; the front stays on the CPU."""
    args, shape = of_file(dense_path, *SMALL)
    with bench(engine, tmp_path, *capacities) as on:
        answer = on.fit(args, shape, *margins)
        free_mib = on.require_the_same(args, shape, answer)

    assert answer.changed
    assert answer.placement.split == split
    assert answer.placement.exceptions == frozenset()
    assert all(f >= m for f, m in zip(free_mib, margins, strict=True))


def test_nextn_layers_are_counted_as_the_load_counts_them(
    engine: Path, tmp_path: Path
) -> None:
    """The fit does not count them and so leaves the first layer on the CPU."""
    (model,) = (m for m in big_models() if m.shape().n_layer_nextn == 1)
    path = model.write(tmp_path / "nextn.gguf")
    args, shape = of_file(path, *FULL)
    with bench(engine, tmp_path, *DESKTOP) as on:
        answer = on.fit(args, shape, MARGIN_MIB, MARGIN_MIB)
        on.require_the_same(args, shape, answer)

    assert answer.changed
    assert answer.placement.slot_devices(shape.n_slots)[0] is None
    assert answer.placement.n_gpu_layers == shape.n_slots - 1


def test_a_success_may_leave_less_than_it_was_asked_to(
    engine: Path, tmp_path: Path
) -> None:
    """The last device is filled before all layers are on devices, which pipelines."""
    (model,) = (m for m in big_models() if m.name == "Gemma-3-27B")
    path = model.write(tmp_path / "gemma.gguf")
    args, shape = of_file(path, *FULL, "-c", "32768")
    with bench(engine, tmp_path, *DESKTOP) as on:
        answer = on.fit(args, shape, MARGIN_MIB, MARGIN_MIB)
        free_mib = on.require_the_same(args, shape, answer)

    assert answer.changed
    assert answer.message is None
    assert answer.placement.n_gpu_layers == shape.n_slots
    assert free_mib[1] < MARGIN_MIB


def test_what_the_user_placed_is_not_fitted(engine: Path, tmp_path: Path) -> None:
    """The engine says so and loads all the same; that is the answer."""
    path = write_qwen3moe(
        tmp_path / "moe.gguf", n_layer=6, n_ff_exp=1024, n_expert=64, n_head_kv=4
    )
    args, shape = of_file(path, *SMALL)
    with bench(engine, tmp_path, 100, 100) as on:
        answer = on.fit([*args, "-cmoe"], shape, 40, 20)

    assert not answer.changed
    assert answer.message is not None
    assert "already set by user" in answer.message
    assert len(answer.placement.exceptions) == 18
