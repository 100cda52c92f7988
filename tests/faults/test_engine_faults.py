"""Engines that die, hang or lie: what a search makes of them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.app.rig import open_rig
from placer.engine import process as process_module
from placer.engine.judge import Cause, Outcome, Verdict, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Observation, Proof, Stage
from placer.errors import MachineError, SearchError
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement import Placement, Workload
from placer.search.search import launch_args
from placer.testing.fake_engine import Fault, fake_engine, launches, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from tests.faults.conftest import Desk

    MakeDesk = Callable[..., Desk]

WORKLOAD = Workload(ctx=1024, batch=256, ubatch=256, parallel=1, kv_unified=False)
PLACEMENT = Placement(split=(3, 2))


def launch(
    engine: Path, model: Path, *, patience_s: float = 5.0
) -> tuple[Observation, Verdict]:
    """One launch of a placement that fits, by a load test."""
    shape = model_shape(read_gguf(model))
    with open_rig(server=engine) as rig:
        test = LoadTest(
            runner=rig.runner,
            machine=rig.machine,
            shape=shape,
            workload=WORKLOAD,
            patience_s=patience_s,
        )
        args = launch_args(str(model), WORKLOAD, (), PLACEMENT, shape, rig.machine)
        log_path = engine.parent / "launch.log"
        seen = test.observe(args, log_path=log_path, on_progress=_ignore)
        return seen, judge(seen, rig.machine, Proof.FULL)


def group_members(group: int) -> list[int]:
    """Living processes of a process group."""
    return [
        process.pid
        for process in psutil.process_iter(["status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and os.getpgid(process.pid) == group
    ]


def _ignore(_: LoadProgress) -> None:
    """Nobody is looking."""


def test_an_engine_for_another_processor_is_a_machine_error(
    make_desk: MakeDesk,
) -> None:
    """SIGILL at start is named, with the program, and nothing was searched."""
    desk = make_desk(fault=Fault.SIGILL_AT_START)
    with pytest.raises(MachineError, match="died with SIGILL") as error:
        desk.optimize()
    assert str(desk.engine) in str(error.value)
    assert error.value.exit_code == 3
    assert not desk.where.logs.exists()
    desk.assert_nothing_changed()


def test_sigill_at_the_first_prompt_ends_the_search(make_desk: MakeDesk) -> None:
    """A crash says nothing of size: no smaller placement is tried."""
    desk = make_desk(fault=Fault.SIGILL_AT_PROMPT)
    with pytest.raises(SearchError, match="killed by SIGILL"):
        desk.optimize()
    assert [t["verdict"] for t in desk.study.trials] == ["CRASHED"]
    assert desk.study.best is None
    assert desk.study.end is not None
    assert "SIGILL" in desk.study.end["stopped"]
    desk.assert_nothing_changed()


def test_sigill_in_mid_search_keeps_what_was_proved(make_desk: MakeDesk) -> None:
    """The best so far is the answer, and it says that its boundary is not known."""
    desk = make_desk(fault=Fault.SIGILL_AT_START, fault_after=1)
    with pytest.raises(SearchError, match=r"stopped early.*SIGILL.*placer apply"):
        desk.optimize()
    assert desk.study.end is not None
    assert desk.study.end["best"] == 1
    assert len(desk.study.trials) == 2
    assert running(desk.engine) == ()


@pytest.mark.parametrize(
    ("fault", "stage"),
    [(Fault.HANG_AT_LOAD, Stage.STARTED), (Fault.HANG_AT_PROMPT, Stage.LOADED)],
)
def test_an_engine_that_hangs_is_stalled(
    tmp_path: Path, moe_path: Path, fault: Fault, stage: Stage
) -> None:
    """When nothing moves for the whole patience it is ended, and that is no size."""
    engine = fake_engine(tmp_path, fault=fault)
    seen, verdict = launch(engine, moe_path, patience_s=0.5)
    assert verdict.outcome is Outcome.STALLED
    assert seen.stage is stage
    assert running(engine) == ()


def test_a_slow_engine_is_not_stalled(tmp_path: Path, moe_path: Path) -> None:
    """Progress within the patience, however slow, is progress."""
    engine = fake_engine(tmp_path, fault=Fault.SLOW)
    seen, verdict = launch(engine, moe_path, patience_s=1.2)
    assert seen.total_s > 1.6
    assert verdict.outcome is Outcome.FITS


def test_an_early_end_is_a_crash(make_desk: MakeDesk) -> None:
    """Exit code 0 without a word is no success."""
    desk = make_desk(fault=Fault.EXIT_EARLY)
    with pytest.raises(SearchError, match="exit code 0"):
        desk.optimize()
    desk.assert_nothing_changed()


def test_a_taken_port_is_tried_again(make_desk: MakeDesk) -> None:
    """Another port is taken, and the answer is the one without the fault."""
    desk = make_desk(fault=Fault.PORT_TAKEN, fault_times=2)
    found = desk.optimize().study.found
    assert [t.verdict.outcome.value for t in found.trials[:3]] == [
        "REFUSED",
        "REFUSED",
        "FITS",
    ]
    assert found.stopped is None
    ports = [
        launch.args[launch.args.index("--port") + 1]
        for launch in launches(desk.engine)
        if not launch.dry_run
    ]
    assert len(set(ports[:3])) == 3


def test_last_words_that_are_lost_are_asked_for_again(make_desk: MakeDesk) -> None:
    """An engine that ends by itself and does not say why has said nothing of size."""
    desk = make_desk(fault=Fault.CUT_OFF, fault_times=2)
    found = desk.optimize().study.found
    outcomes = [t.verdict.outcome.value for t in found.trials[:3]]
    assert outcomes == ["CRASHED", "CRASHED", "FITS"]
    assert {t.verdict.cause for t in found.trials[:2]} == {Cause.CUT_OFF}
    assert found.stopped is None


def test_an_engine_that_never_says_why_ends_the_search(make_desk: MakeDesk) -> None:
    """It is not tried for ever, and not taken for out-of-memory."""
    desk = make_desk(fault=Fault.CUT_OFF)
    with pytest.raises(SearchError, match="exit code 1"):
        desk.optimize()
    assert len(desk.study.trials) == 3
    desk.assert_nothing_changed()


def test_a_port_that_stays_taken_ends_the_search(make_desk: MakeDesk) -> None:
    """It is not tried for ever, and not taken for out-of-memory."""
    desk = make_desk(fault=Fault.PORT_TAKEN)
    with pytest.raises(SearchError, match="port was taken"):
        desk.optimize()
    assert len(desk.study.trials) == 3
    desk.assert_nothing_changed()


def test_running_out_of_memory_in_use_is_out_of_memory(
    tmp_path: Path, moe_path: Path
) -> None:
    """The server lives on and answers with an error; the log says which device."""
    engine = fake_engine(tmp_path, fault=Fault.OOM_IN_USE)
    seen, verdict = launch(engine, moe_path)
    assert verdict.outcome is Outcome.OOM_IN_USE
    assert verdict.device == "Vulkan1"
    assert seen.stage is Stage.LOADED
    assert seen.exit_code is None
    assert seen.answer_error is not None
    assert running(engine) == ()


def test_an_abort_out_of_memory_is_out_of_memory(
    tmp_path: Path, moe_path: Path
) -> None:
    """CUDA's abort has no allocation line; its own lines name the device."""
    devices = {"CUDA0": 400, "CUDA1": 300}
    engine = fake_engine(tmp_path, devices=devices, fault=Fault.CUDA_ERROR)
    seen, verdict = launch(engine, moe_path)
    assert seen.exit_code == -signal.SIGABRT
    assert verdict.outcome is Outcome.OOM_IN_USE
    assert verdict.device == "CUDA0"


@pytest.mark.parametrize(
    ("fault", "number", "cause"),
    [
        (Fault.DEVICE_LOST, signal.SIGABRT, Cause.DEVICE_LOST),
        (Fault.KILLED, signal.SIGKILL, Cause.KILLED),
    ],
)
def test_what_ends_an_engine_from_outside_is_no_size(
    tmp_path: Path, moe_path: Path, fault: Fault, number: int, cause: Cause
) -> None:
    """A GPU that is gone, and the kernel when the host has no memory left."""
    engine = fake_engine(tmp_path, fault=fault)
    seen, verdict = launch(engine, moe_path)
    assert seen.exit_code == -number
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.cause is cause
    assert not verdict.outcome.says_size


def test_growth_in_use_is_found_by_the_search(make_desk: MakeDesk) -> None:
    """What a device needs at its first prompt makes the placement smaller."""
    without = make_desk().optimize().study.found.trial.probe
    desk = make_desk(in_use_mib={"Vulkan0": 12})
    desk.folder.joinpath("search_logs").rename(desk.folder / "earlier_logs")
    found = desk.optimize().study.found
    assert found.stopped is None
    outcomes = {t.verdict.outcome for t in found.trials}
    assert Outcome.OOM_IN_USE in outcomes
    held = [t.formula.devices[0].total_bytes for t in (without, found.trial.probe)]
    assert held[1] < held[0]


def test_garbage_in_the_log_harms_nobody(tmp_path: Path, moe_path: Path) -> None:
    """NUL bytes, broken UTF-8 and a line without end are read over, fast."""
    engine = fake_engine(tmp_path, fault=Fault.GARBAGE)
    seen, verdict = launch(engine, moe_path)
    assert verdict.outcome is Outcome.FITS
    assert seen.total_s < 5


def test_an_engine_that_ignores_sigterm_is_killed_with_its_children(
    tmp_path: Path, moe_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its whole process group is gone after the launch."""
    monkeypatch.setattr(process_module, "STOP_TIMEOUT_S", 0.2)
    engine = fake_engine(tmp_path, fault=Fault.DEAF)
    _, verdict = launch(engine, moe_path)
    assert verdict.outcome is Outcome.FITS
    (only,) = launches(engine)
    assert group_members(only.pid) == []


@dataclass(slots=True)
class Interrupting:
    """Presses Ctrl-C once a launch has come to a stage."""

    stage: Stage
    pressed: bool = field(default=False)

    def __call__(self, progress: LoadProgress) -> None:
        """Look at the progress; press once."""
        if progress.stage >= self.stage and not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt


@pytest.mark.parametrize("stage", [Stage.STARTED, Stage.LOADED])
def test_ctrl_c_ends_the_engine_at_once(
    tmp_path: Path, moe_path: Path, stage: Stage
) -> None:
    """Also while a prompt is read: nobody waits for its answer."""
    engine = fake_engine(tmp_path, fault=Fault.HANG_AT_PROMPT)
    shape = model_shape(read_gguf(moe_path))
    with open_rig(server=engine) as rig:
        test = LoadTest(
            runner=rig.runner, machine=rig.machine, shape=shape, workload=WORKLOAD
        )
        test = replace(test, patience_s=30.0)
        args = launch_args(str(moe_path), WORKLOAD, (), PLACEMENT, shape, rig.machine)
        with pytest.raises(KeyboardInterrupt):
            test.observe(
                args, log_path=tmp_path / "x.log", on_progress=Interrupting(stage)
            )
    assert running(engine) == ()
