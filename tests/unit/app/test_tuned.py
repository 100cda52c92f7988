"""Tuning on a fake engine whose speed follows from its flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from placer.app import Request, Where
from placer.app.tuned import Tuned, tune
from placer.app.tuning import TuneOptions
from placer.errors import InputError, MachineError, SearchError
from placer.profiles import read_arguments, read_conf
from placer.testing.fake_engine import (
    Fault,
    fake_engine,
    launches,
    running,
    set_pace,
)
from placer.tune.budget import Budget
from placer.tune.tried import Came
from placer.tune.tuner import Answer, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

CONF = """\
# Every byte of this is mine.
[tiny]
NAME=Tiny
MODEL=moe.gguf
CTX_SIZE=1024
EXTRA_ARGS=-b 256 -ub 128 -np 1
"""
#: All of the model fits; where less is given, experts stay on the CPU.
ROOMY = {"Vulkan0": 80, "Vulkan1": 60}
PACE = {"-ub 256": 0.8, "-fa off": 0.9, "-ctk q8_0": 1.3}
SMALL = {"ub": ("64", "256"), "fa": ("off",)}


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where a user works."""

    folder: Path
    models: Path
    engine: Path
    events: list[Any] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    def tune(
        self,
        budget: int = 30,
        vary: Mapping[str, tuple[str, ...]] | None = None,
        name: str = "tiny",
        **options: Any,
    ) -> Tuned:
        """Tune the profile."""
        where = Where(
            server=self.engine,
            conf=self.conf,
            models=self.models,
            logs=self.folder / "search_logs",
        )
        asked = TuneOptions(
            budget=Budget(launches=budget),
            vary=SMALL if vary is None else vary,
            **{"only": True, "quality": False, **options},
        )
        return tune(name, where, Request(), asked, self.events.append)

    @property
    def launched(self) -> int:
        """Launches, without dry runs."""
        return sum(not launch.dry_run for launch in launches(self.engine))


@pytest.fixture
def make_desk(tmp_path: Path, moe_path: Path) -> Callable[..., Desk]:
    """A desk with an engine as asked: its speed, and the keywords of fake_engine."""

    def make(pace: Mapping[str, float] = PACE, **engine: Any) -> Desk:
        binary = fake_engine(tmp_path, **{"devices": ROOMY, **engine})
        set_pace(binary, {"nothing": 1.0, **pace})
        desk = Desk(folder=tmp_path, models=moe_path.parent, engine=binary)
        desk.conf.write_text(CONF)
        return desk

    return make


def changes(found: Tuned) -> dict[str, str]:
    """What the best changes."""
    best, start = found.result.best.settings, found.space.start
    return {k: v for k, v in best.items() if v != start[k] and k != "placement"}


def test_the_planted_best_is_found_and_confirmed(
    make_desk: Callable[..., Desk],
) -> None:
    """Launched as often as it says, each of the settings once, and nothing is left."""
    desk = make_desk()
    found = desk.tune()
    assert changes(found) == {"ub": "256", "fa": "off"}
    assert found.result.answer is Answer.BETTER
    assert found.result.compared is not None
    assert found.result.compared.gain == pytest.approx(1 - 0.72, abs=0.02)
    assert found.result.stopped == "everything was tried"
    assert len(found.result.tried) == 6
    assert desk.launched == found.launches == 6 + 4
    assert running(desk.engine) == ()


def test_the_start_comes_first_and_each_best_is_told(
    make_desk: Callable[..., Desk],
) -> None:
    """The best so far is always ready."""
    desk = make_desk()
    found = desk.tune()
    assert found.result.tried[0].settings == found.space.start
    done = [event for event in desk.events if isinstance(event, Done)]
    best = [event.tried for event in done if event.is_best]
    assert best[0].settings == found.space.start
    assert best[-1].number == found.result.best.number
    decodes = [tried.pace.decode for tried in best if tried.pace]
    assert decodes == sorted(decodes)


def test_it_is_found_among_many_within_the_budget(
    make_desk: Callable[..., Desk],
) -> None:
    """The usual values of a profile whose experts are on the CPU: hundreds."""
    desk = make_desk({"-ub 256": 0.5}, devices={"Vulkan0": 20, "Vulkan1": 12})
    found = desk.tune(16, {"t": ("1", "3"), "tb": ("1", "3")}, only=False)
    assert found.space.size > 200
    assert desk.launched == found.launches <= 16
    assert found.result.answer is Answer.BETTER
    assert changes(found)["ub"] == "256"


def test_a_budget_is_kept_and_enough_is_kept_back_to_confirm(
    make_desk: Callable[..., Desk],
) -> None:
    """Four launches of it."""
    desk = make_desk()
    found = desk.tune(8)
    assert desk.launched == found.launches <= 8
    assert found.result.stopped == "the budget is spent"
    assert len(found.result.tried) == 4
    short = make_desk().tune(2, {"ub": ("256",)})
    assert short.launches == 2
    assert short.result.answer is Answer.NOT_CONFIRMED
    assert "4 launches more are not in the budget" in short.result.why


def test_no_difference_is_an_answer(make_desk: Callable[..., Desk]) -> None:
    """The start stays where nothing is faster."""
    found = make_desk({"-ub 256": 1.2, "-fa off": 1.2, "-ub 64": 1.1}).tune()
    assert found.result.answer is Answer.START_IS_BEST
    assert found.result.chosen.settings == found.space.start
    assert found.launches == 6


def test_what_does_not_fit_costs_no_launch(make_desk: Callable[..., Desk]) -> None:
    """It is a constraint, with what is missing."""
    desk = make_desk(devices={"Vulkan0": 8})
    found = desk.tune(vary={"ub": ("64", "1024"), "b": ("1024",)})
    unfit = [t for t in found.result.tried if t.came is Came.DOES_NOT_FIT]
    assert {t.settings["ub"] for t in unfit} == {"1024"}
    assert all(t.short_bytes and "short on" in t.why for t in unfit)
    confirmed = 4 if found.result.compared else 0
    measured = len(found.result.tried) - len(unfit)
    assert desk.launched == found.launches == measured + confirmed


def test_dry_runs_prune_what_the_formula_lets_pass(
    make_desk: Callable[..., Desk],
) -> None:
    """The start among it: what fits is the only answer then."""
    desk = make_desk(devices={"Vulkan0": 8}, compute_factor=1.45)
    found = desk.tune(vary={"ub": ("64",)})
    start, smaller = found.result.tried
    assert start.came is Came.DOES_NOT_FIT
    assert start.why.endswith("short on Vulkan0 by dry run")
    assert smaller.came is Came.MEASURED
    assert found.result.answer is Answer.ONLY
    assert desk.launched == found.launches == 1


def test_it_ends_where_nothing_fits(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though dry runs cost no launch, and there may be hundreds of settings."""
    monkeypatch.setattr("placer.tune.tuner.MOST_IN_VAIN", 3)
    desk = make_desk(devices={"Vulkan0": 1})
    with pytest.raises(SearchError, match=r"fits: .* short on"):
        desk.tune(vary={"ub": ("256", "512", "768", "1024")})
    assert desk.launched == 0
    done = [event for event in desk.events if isinstance(event, Done)]
    assert len(done) == 3


def test_memory_that_runs_out_is_a_constraint_too(
    make_desk: Callable[..., Desk],
) -> None:
    """The engine needs more in use than it said; more is left free from then on."""
    desk = make_desk(in_use_mib={"Vulkan0": 500})
    with pytest.raises(SearchError, match="nothing of what was tried fits"):
        desk.tune(6)
    assert running(desk.engine) == ()


def test_what_ran_out_is_planned_again_with_more_room(
    make_desk: Callable[..., Desk],
) -> None:
    """The plan filled a device to its edge, and the engine needed a little more."""
    desk = make_desk(devices={"Vulkan0": 20, "Vulkan1": 12}, in_use_mib={"Vulkan0": 1})
    found = desk.tune(2, {})
    (start,) = found.result.tried
    assert start.came is Came.MEASURED
    first, second = [
        launch.args for launch in launches(desk.engine) if not launch.dry_run
    ]
    assert first != second
    assert start.args == second[: len(start.args)]
    assert found.launches == 2


def test_what_costs_quality_is_shown_and_not_chosen(
    make_desk: Callable[..., Desk],
) -> None:
    """Unless that is accepted."""
    pace = {"-ctk q4_0": 0.5, "-ctk q8_0": 0.8}
    vary = {"ctk": ("q8_0", "q4_0")}
    found = make_desk(pace).tune(vary=vary)
    assert changes(found) == {"ctk": "q8_0", "ctv": "q8_0"}
    assert found.result.costly is not None
    assert found.result.costly.settings["ctk"] == "q4_0"
    taken = make_desk(pace).tune(vary=vary, accept_quality_loss=True)
    assert changes(taken) == {"ctk": "q4_0", "ctv": "q4_0"}
    assert taken.result.costly is None


def test_low_bits_are_never_tried_unasked(make_desk: Callable[..., Desk]) -> None:
    """By the usual values."""
    desk = make_desk()
    desk.tune(8, {}, only=False)
    types = {
        launch.args[launch.args.index(flag) + 1]
        for launch in launches(desk.engine)
        for flag in ("-ctk", "-ctv")
    }
    assert types <= {"f16", "q8_0"}


def test_a_study_goes_on_without_a_repeat(make_desk: Callable[..., Desk]) -> None:
    """In the same folder, with the values that it had."""
    desk = make_desk()
    first = desk.tune(3)
    again = desk.tune(30, {}, only=False, resume=True)
    assert again.folder == first.folder
    assert again.space.values == first.space.values
    assert len(again.result.tried) == 6
    assert again.launches == 6 - 3 + 4
    assert again.result.answer is Answer.BETTER


def test_there_must_be_something_to_resume(make_desk: Callable[..., Desk]) -> None:
    """And it must be of the same."""
    desk = make_desk()
    with pytest.raises(InputError, match="not tuned before"):
        desk.tune(resume=True)
    desk.tune(2)
    desk.conf.write_text(CONF.replace("CTX_SIZE=1024", "CTX_SIZE=512"))
    with pytest.raises(InputError, match="another context"):
        desk.tune(resume=True)


def test_unlike_devices_do_not_share_a_study(
    make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """Like ones do: what one has tried the other does not."""
    storage = str(tmp_path / "shared.journal")
    make_desk().tune(3, storage=storage)
    joined = make_desk().tune(storage=storage)
    assert (len(joined.result.tried), joined.launches) == (6, 3 + 4)
    with pytest.raises(InputError, match="is of other devices"):
        make_desk(devices={"Vulkan0": 80}).tune(storage=storage)


def test_better_is_written_with_all_its_flags(make_desk: Callable[..., Desk]) -> None:
    """The other lines stay, the comment says how it came there."""
    desk = make_desk({"-ub 256": 0.8, "-t 1": 0.5})
    found = desk.tune(vary={"ub": ("256",), "t": ("1",)}, write=True)
    assert found.applied is not None
    assert found.applied.written
    text = desk.conf.read_text()
    assert text.startswith("# Every byte of this is mine.\n[tiny]\nNAME=Tiny\n")
    profile = read_conf(desk.conf).profile("tiny")
    said = {a.name: a.value for a in read_arguments(profile)}
    assert (said["-ub"], said["-t"], said["-tb"]) == ("256", "1", "1")
    assert "tuned=decode" in text
    # What stands there now is where the next one starts.
    assert desk.tune(vary={"ub": ("128",)}).result.answer is Answer.START_IS_BEST


def test_what_is_not_better_is_not_written(make_desk: Callable[..., Desk]) -> None:
    """Nor what was not confirmed; the reason is said."""
    desk = make_desk({"-ub 256": 1.5})
    found = desk.tune(vary={"ub": ("256",)}, write=True)
    assert (found.applied, found.unwritten) == (None, "start-is-best")
    assert desk.conf.read_text() == CONF


def test_the_placement_of_models_conf_is_where_it_starts(
    make_desk: Callable[..., Desk],
) -> None:
    """The planner's stands beside it, for the same settings."""
    desk = make_desk({"-ts 1,4": 1.5})
    desk.conf.write_text(
        CONF.replace("EXTRA_ARGS=", "N_GPU_LAYERS=5\nFIT=off\nEXTRA_ARGS=-ts 1,4 ")
    )
    found = desk.tune(vary={"ub": ("64",)})
    first, second = found.result.tried[:2]
    assert first.settings["placement"] == "own"
    assert first.placement_args == ("-ngl", "5", "-ts", "1,4")
    assert second.settings == {**first.settings, "placement": "plan"}
    assert len(found.result.tried) == 3
    assert found.result.best.number == 2
    assert found.result.answer is Answer.BETTER


def test_a_start_that_fails_stops_it(make_desk: Callable[..., Desk]) -> None:
    """What it is has nothing to do with the settings."""
    with pytest.raises(SearchError, match="the settings to start from fail: CRASHED"):
        make_desk(fault=Fault.SIGILL_AT_PROMPT).tune()


def test_a_device_that_goes_stops_it(make_desk: Callable[..., Desk]) -> None:
    """What took it away is not tried again; all else is."""
    desk = make_desk()

    done: list[Any] = []

    def take(event: Any) -> None:
        done.extend([event] if isinstance(event, Done) else [])
        if len(done) == 1 and done[0] is event:
            fake_engine(
                desk.folder, devices={"Vulkan0": 80}, fault=Fault.SIGILL_AT_PROMPT
            )

    desk.events = _Calls(take)
    with pytest.raises(MachineError, match="Vulkan1 is not there any more"):
        desk.tune()
    desk = make_desk()
    found = desk.tune(resume=True)
    failed = [t for t in found.result.tried if t.came is Came.FAILED]
    assert len(failed) <= 1
    assert len(found.result.tried) == 6
    assert found.result.answer is Answer.BETTER


def test_splits_that_the_build_does_not_know_cost_no_launch(
    make_desk: Callable[..., Desk],
) -> None:
    """Its dry run refuses them."""
    desk = make_desk(devices={"CUDA0": 286, "CUDA1": 286})
    found = desk.tune(vary={"sm": ("row", "tensor")})
    start, *others = found.result.tried
    assert start.came is Came.MEASURED
    assert {t.settings["sm"] for t in others} == {"row", "tensor"}
    assert {t.came for t in others} == {Came.REFUSED}
    assert all("-sm" in t.why for t in others)
    assert desk.launched == 1


def test_one_at_a_time(make_desk: Callable[..., Desk]) -> None:
    """The devices are taken while it runs."""
    desk = make_desk()
    seen: list[Any] = []

    def meanwhile(event: Any) -> None:
        if not seen:
            seen.append(event)
            with pytest.raises(MachineError, match="is taken by"):
                desk.tune(2)

    desk.events = _Calls(meanwhile)
    desk.tune(2)
    assert seen


class _Calls(list[Any]):
    """A list that somebody is told of."""

    def __init__(self, call: Callable[[Any], None]) -> None:
        self._call = call

    def append(self, event: Any) -> None:
        self._call(event)
