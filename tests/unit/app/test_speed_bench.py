"""The speed of profiles: what is asked, what it amounts to, what stays on record."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest

import placer
from placer.app.speed_asking import Heard, Pace, pace_of
from placer.app.speed_bench import (
    InterruptedBenchError,
    Measuring,
    NotBenched,
    SpeedBench,
    bench_speed,
    bench_speeds,
)
from placer.app.speed_chart import require_chart, speed_chart
from placer.app.speed_question import (
    Cell,
    Launch,
    Settings,
    SpeedOptions,
    question_of,
    server_flags,
)
from placer.app.speed_record import Unfit
from placer.app.speed_rows import Sample, rows_of, sample_of
from placer.app.target import Asked, resolve
from placer.app.testbed import with_flags
from placer.cli.main import run
from placer.engine.client import Completion
from placer.engine.meter import Lap, Meter
from placer.errors import InputError
from placer.machine.sensors import CardReading
from placer.machine.spec import machine_of_spec
from placer.testing.fake_engine import Fault, fake_engine, launches, running

if TYPE_CHECKING:
    from pathlib import Path

    from placer.app.speed_bench import Event

CONF = """\
[moe]
MODEL={model}
CTX_SIZE=1024
EXTRA_ARGS=-b 64 -ub 32 -np 1
[small]
MODEL={model}
CTX_SIZE=256
EXTRA_ARGS=-b 64 -ub 32 -np 1
"""
QUICK = SpeedOptions(depths=(0,), n_prompt=8, n_gen=4, repeats=1)
SETTINGS = Settings(batch=512, ubatch=128)
LAP = Lap(seconds=1.0, used_bytes=(None,), watts=(None,))


def where_of(folder: Path, model: Path, **engine: Any) -> placer.Where:
    """A fake engine and the profiles."""
    conf = folder / "models.conf"
    conf.write_text(CONF.format(model=model.name))
    return placer.Where(
        server=fake_engine(folder, **engine),
        conf=conf,
        models=model.parent,
        logs=folder / "logs",
        ledger=folder / "ledger.jsonl",
    )


def records(found: SpeedBench) -> list[dict[str, Any]]:
    """The lines of its journal."""
    lines = (found.folder / "trials.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def n_launched(where: placer.Where) -> int:
    """Launches, without dry runs."""
    assert where.server is not None
    return sum(not one.dry_run for one in launches(where.server))


def heard(
    *marks: tuple[float, int], began_s: float = 0.0, read: int = 0, per_s: float = 1.0
) -> Heard:
    """A user's answer whose tokens came then."""
    last_s, written = marks[-1]
    done = Completion(
        prompt_tokens=read,
        prompt_tokens_per_s=2 * per_s,
        decoded_tokens=written,
        decoded_tokens_per_s=per_s,
    )
    return Heard(began_s=began_s, ended_s=last_s, marks=marks, done=done)


READ = (heard((1.0, 1), read=8),)


def sample(number: int, decode: float, **figures: Any) -> Sample:
    """One cell of a launch that wrote so fast."""
    pace = Pace(
        prefill_tokens_per_s=100.0,
        decode_tokens_per_s=decode,
        user_decode_tokens_per_s=decode / 2,
        ttft_s=0.5,
        **{"used_bytes": (None, None), "watts": (None, None), **figures},
    )
    launch = Launch(number=number, repeat=number, settings=SETTINGS)
    return Sample(launch=launch, cell=Cell(depth=0, users=2), pace=pace)


class Cards:
    """Shows what it is told to, and then the last of it again and again."""

    def __init__(self, *shown: tuple[CardReading, ...]) -> None:
        self.shown = chain(shown, repeat(shown[-1]))

    def __call__(self, devices: object) -> tuple[CardReading, ...]:
        """The next reading."""
        return next(self.shown)


class Stops:
    """A listener that is interrupted at the event of a kind and number."""

    def __init__(self, kind: type[Any], number: int) -> None:
        self.kind, self.left = kind, number

    def __call__(self, event: Event) -> None:
        """Count, and stop."""
        self.left -= isinstance(event, self.kind)
        if not self.left:
            raise KeyboardInterrupt


def ctrl_c_once_launched(logs: Path) -> None:
    """Wait until a server is up, and then a little; whoever waits for it goes on."""
    while not any("launched" in p.read_text() for p in logs.rglob("trials.jsonl")):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)


def test_users_together_count_while_all_of_them_write() -> None:
    """From the last first token to the first last one; what is alone is left out."""
    early = heard((0.0, 1), (10.0, 11))
    late = heard((5.0, 1), (25.0, 41))
    pace = pace_of(READ, [early, late], LAP, LAP)
    # 5 s in which one writes 1 token a second and the other 2.
    assert pace.decode_tokens_per_s == pytest.approx(3.0)


def test_users_who_never_write_together_have_no_speed_together() -> None:
    """A dash is better than what one of them did alone."""
    first, second = heard((0.0, 1), (1.0, 9)), heard((2.0, 1), (3.0, 9))
    pace = pace_of(READ, [first, second], LAP, LAP)
    assert pace.decode_tokens_per_s is None
    assert pace.user_decode_tokens_per_s == 1.0


def test_prompts_are_read_until_the_last_first_token() -> None:
    """All tokens by the time of all; a user waits for his own alone."""
    read = [
        heard((3.0, 1), began_s=1.0, read=100),
        heard((6.0, 1), began_s=2.0, read=150),
    ]
    pace = pace_of(read, [heard((0.0, 1), (1.0, 2))], LAP, LAP)
    assert pace.prefill_tokens_per_s == pytest.approx(50.0)
    assert pace.ttft_s == pytest.approx(3.0)


def test_one_user_is_measured_by_the_servers_clock() -> None:
    """What a request takes beside is no speed of the model's; he waits for it too."""
    asked = [heard((9.0, 1), read=8, per_s=20.0)]
    pace = pace_of(asked, asked, LAP, LAP)
    assert (pace.prefill_tokens_per_s, pace.decode_tokens_per_s) == (40.0, 20.0)
    assert pace.ttft_s == 9.0


def test_joules_are_of_what_was_written() -> None:
    """By the cards that were looked at meanwhile; memory is the most of both laps."""
    devices = machine_of_spec("CUDA0:24564,CUDA1:16303").devices

    def drawing(watts: float, used: int) -> tuple[CardReading, ...]:
        return tuple(CardReading(power_w=watts, used_bytes=used) for _ in devices)

    cards = Cards(drawing(300.0, 9), drawing(100.0, 5), drawing(100.0, 5))
    meter = Meter(devices=devices, pid=None, watch=None, cards=cards)
    reading, writing = meter.lap(), replace(meter.lap(), seconds=2.0)
    written = [heard((0.0, 1), (1.0, 20)), heard((0.0, 1), (1.0, 20))]
    pace = pace_of(READ, written, reading, writing)
    assert pace.watts == (100.0, 100.0)
    assert pace.joules == 400.0
    assert pace.tokens_per_joule == pytest.approx(40 / 400)
    assert pace.used_bytes == (9, 9)


def test_cards_that_do_not_tell_leave_no_figure() -> None:
    """One of two is not enough for a sum."""
    lap = Lap(seconds=1.0, used_bytes=(3, None), watts=(100.0, None))
    written = [heard((0.0, 1), (1.0, 20))]
    pace = pace_of(READ, written, lap, lap)
    assert (pace.joules, pace.tokens_per_joule) == (None, None)
    assert pace.used_bytes == (3, None)


def test_the_launch_is_the_unit() -> None:
    """Student's interval over launches, 4.303 standard errors for three of them."""
    (row,) = rows_of([sample(1, 9.0), sample(2, 10.0), sample(3, 11.0)])
    decode = row.figures["decode_tokens_per_s"]
    assert decode is not None
    assert (row.n, decode.mean) == (3, 10.0)
    assert decode.half_width == pytest.approx(4.303 / 3**0.5 / 10, rel=1e-3)
    assert row.record()["decode_tokens_per_s"] == {"mean": 10.0, "half_width": 0.2484}
    assert row.record()["joules"] is None


def test_one_launch_has_no_interval() -> None:
    """Nobody knows how far the next one would be away."""
    (row,) = rows_of([sample(1, 9.0)])
    assert row.record()["decode_tokens_per_s"] == {"mean": 9.0, "half_width": None}


def test_devices_keep_their_figures_apart() -> None:
    """The most that was held of each, what each drew on average."""
    figures = [
        {"held_bytes": (5, 1), "used_bytes": (7, None), "watts": (100.0, None)},
        {"held_bytes": (4, 2), "used_bytes": (8, None), "watts": (200.0, None)},
    ]
    (row,) = rows_of(sample(n, 9.0, **f) for n, f in enumerate(figures, start=1))
    assert row.held_bytes == (5, 2)
    assert row.used_bytes == (8, None)
    assert row.watts == (150.0, None)


def test_what_is_on_record_is_read_back() -> None:
    """All of it, unknown figures too."""
    one = sample(1, 9.0, held_bytes=(5, 2), watts=(100.0, 50.0), joules=3.0)
    assert sample_of(json.loads(json.dumps(one.record()))) == one


def test_every_repeat_holds_every_setting(tmp_path: Path, moe_path: Path) -> None:
    """In random order, the same for the same seed."""
    target = resolve("moe", where_of(tmp_path, moe_path).folders, Asked())
    options = replace(QUICK, batches=(64, 128, 256), ubatches=(16, 32), repeats=4)
    planned = question_of(target, options).launches
    assert planned == question_of(target, options).launches
    assert planned != question_of(target, replace(options, seed=2)).launches
    assert Counter((one.repeat, one.settings) for one in planned) == Counter(
        (n, Settings(batch=batch, ubatch=ubatch))
        for n in (1, 2, 3, 4)
        for batch in (64, 128, 256)
        for ubatch in (16, 32)
    )


def test_depths_go_as_far_as_a_slot_holds(tmp_path: Path, moe_path: Path) -> None:
    """None, half, and all that the prompt and the answer leave of it."""
    target = resolve("moe", where_of(tmp_path, moe_path).folders, Asked())
    asked = question_of(target, SpeedOptions(n_gen=16))
    assert asked.n_prompt == 64
    assert asked.depths[0] == 0
    assert asked.depths[1] == asked.depths[2] // 2
    assert 1024 - asked.depths[2] - 64 - 16 < 8


def test_users_must_fit_the_context(tmp_path: Path, moe_path: Path) -> None:
    """Of a slot each, or of a cache that all share; it is said what they would need."""
    target = resolve("moe", where_of(tmp_path, moe_path).folders, Asked())
    options = replace(QUICK, depths=(400,), users=(1, 2))
    shared = with_flags(target, ("-kvu", *server_flags(target, options)))
    assert shared.workload.parallel == 2
    assert question_of(shared, options).depths == (400,)
    deeper = replace(options, depths=(500,))
    with pytest.raises(InputError, match=r"need -c 1,030 for 2 users in 2 slots"):
        question_of(shared, deeper)
    apart = with_flags(target, server_flags(target, options))
    with pytest.raises(InputError, match="need -c"):
        question_of(apart, replace(options, depths=(500,)))


def test_more_slots_than_users_stay(tmp_path: Path, moe_path: Path) -> None:
    """It is the profile that is measured."""
    target = resolve("moe", where_of(tmp_path, moe_path).folders, Asked())
    four = with_flags(target, ("-np", "4"))
    assert "-np" not in server_flags(four, replace(QUICK, users=(1, 2)))
    assert server_flags(four, replace(QUICK, users=(8,)))[:2] == ("-np", "8")


def test_each_setting_is_launched_once_a_repeat(tmp_path: Path, moe_path: Path) -> None:
    """Every figure of it on record before the end, and nothing is left running."""
    where = where_of(tmp_path, moe_path)
    options = replace(QUICK, batches=(64, 128), users=(1, 2))
    found = bench_speed("moe", where, options)
    assert (found.stopped, found.exit_code, found.unfit) == (None, 0, ())
    assert [(r.settings.batch, r.cell.users) for r in found.rows] == [
        (64, 1),
        (64, 2),
        (128, 1),
        (128, 2),
    ]
    kinds = Counter(record["kind"] for record in records(found))
    assert kinds == {"speed": 1, "launched": 2, "measured": 4, "end": 1}
    assert records(found)[-1]["rows"] == [row.record() for row in found.rows]
    assert n_launched(where) == 2
    assert running(where.server or tmp_path) == ()


def test_what_was_broken_off_goes_on_without_a_repeat(
    tmp_path: Path, moe_path: Path
) -> None:
    """In the same record; a cell that was measured is not measured again."""
    where = where_of(tmp_path, moe_path)
    options = replace(QUICK, depths=(0, 32), repeats=2)
    with pytest.raises(InterruptedBenchError) as caught:
        bench_speed("moe", where, options, Stops(Sample, 3))
    first = caught.value.found
    assert first.stopped == "interrupted"
    assert [row.n for row in first.rows] == [2, 1]
    assert records(first)[-1]["stopped"] == "interrupted"
    again = replace(options, resume=True)
    with pytest.raises(InputError, match="asked just this"):
        bench_speed("moe", where, replace(again, n_gen=5))
    # A write that was torn is no line.
    with (first.folder / "trials.jsonl").open("a") as file:
        file.write('{"kind": "measu')
    second = bench_speed("moe", where, again)
    assert second.folder == first.folder
    assert [row.n for row in second.rows] == [2, 2]
    assert n_launched(where) == 3
    kinds = Counter(record["kind"] for record in records(second))
    assert (kinds["measured"], kinds["resumed"]) == (4, 1)
    with pytest.raises(InputError, match="leave out --resume"):
        bench_speed("moe", where, again)


def test_ctrl_c_ends_who_is_asking(tmp_path: Path, moe_path: Path) -> None:
    """In the middle of an answer that would never come; the server is gone."""
    where = where_of(tmp_path, moe_path, fault=Fault.HANG_AT_PROMPT)
    options = replace(QUICK, users=(2,))
    waits = threading.Thread(
        target=ctrl_c_once_launched, args=(where.logs,), daemon=True
    )
    waits.start()
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(InterruptedBenchError) as caught:
            bench_speed("moe", where, options)
    finally:
        signal.signal(signal.SIGINT, was)
    assert caught.value.exit_code == 130
    assert caught.value.found.rows == ()
    assert running(where.server or tmp_path) == ()


def test_a_batch_that_does_not_fit_is_a_row_of_its_own(
    tmp_path: Path, moe_path: Path
) -> None:
    """The others are measured; it is tried once, and not at every repeat."""
    where = where_of(tmp_path, moe_path, devices={"Vulkan0": 8})
    options = replace(QUICK, ubatches=(32, 4096), batches=(4096,), repeats=2)
    events: list[Event] = []
    found = bench_speed("moe", where, options, events.append)
    assert [(row.settings.ubatch, row.n) for row in found.rows] == [(32, 2)]
    (unfit,) = found.unfit
    assert unfit.settings == Settings(batch=4096, ubatch=4096)
    assert unfit.exit_code == 4
    assert [one for one in events if isinstance(one, Unfit)] == [unfit]
    assert found.exit_code == 0
    (record,) = [one for one in records(found) if one["kind"] == "unfit"]
    assert record["settings"] == {"batch": 4096, "ubatch": 4096}
    assert record["why"] == unfit.why


def test_a_launch_that_dies_stops_no_other(tmp_path: Path, moe_path: Path) -> None:
    """Its settings have the reason; where nothing is left, that is the exit code."""
    where = where_of(
        tmp_path, moe_path, fault=Fault.SIGILL_AT_PROMPT, fault_after=1, fault_times=1
    )
    found = bench_speed("moe", where, replace(QUICK, batches=(64, 128)))
    (unfit,) = found.unfit
    (row,) = found.rows
    assert {unfit.settings.batch, row.settings.batch} == {64, 128}
    assert "does not run" in unfit.why
    assert replace(found, rows=()).exit_code == 3


def test_of_several_profiles_one_that_fails_stops_none(
    tmp_path: Path, moe_path: Path
) -> None:
    """Unless its name is wrong: that is said before anything is launched."""
    where = where_of(tmp_path, moe_path)
    deep = replace(QUICK, depths=(300,))
    small, moe = bench_speeds(["small", "moe"], where, deep)
    assert isinstance(small, NotBenched)
    assert (small.exit_code, small.name) == (2, "small")
    assert isinstance(moe, SpeedBench)
    assert moe.rows
    was = n_launched(where)
    with pytest.raises(InputError, match="nobody"):
        list(bench_speeds(["moe", "nobody"], where, deep))
    assert n_launched(where) == was


def test_several_profiles_go_on_where_they_were(tmp_path: Path, moe_path: Path) -> None:
    """What is whole is told again, what was broken off goes on, the rest begins."""
    where = where_of(tmp_path, moe_path)
    moe, small = "moe", "small"
    with pytest.raises(InterruptedBenchError):
        list(bench_speeds([moe, small], where, QUICK, Stops(Measuring, 2)))
    assert n_launched(where) == 2
    again = replace(QUICK, resume=True)
    found = list(bench_speeds([moe, small], where, again))
    assert [len(one.rows) for one in found if isinstance(one, SpeedBench)] == [1, 1]
    assert n_launched(where) == 3


def test_the_chart_has_every_row_and_says_what_means_nothing(tmp_path: Path) -> None:
    """Bars are shares, figures tokens a second; another file than SVG is refused."""
    found = SpeedBench(
        name="moe",
        folder=tmp_path,
        header={"emulated": True},
        rows=rows_of([sample(1, 9.0), sample(2, 11.0)]),
        unfit=(),
    )
    chart = speed_chart([found, replace(found, name="other")])
    assert [group.title.split(":")[0] for group in chart.groups] == [
        "moe",
        "other",
        "moe",
        "other",
    ]
    bar = chart.bars[0]
    assert bar.total == pytest.approx(100.0)
    assert bar.text == "10.0 ±127 %"
    assert bar.span == pytest.approx((0.0, 227.06), abs=0.01)
    assert "emulated" in chart.note
    with pytest.raises(InputError, match=r"name a file \.svg"):
        require_chart(tmp_path / "speed.png")
    with pytest.raises(InputError, match="no such folder"):
        require_chart(tmp_path / "gone" / "speed.svg")


def test_the_command_shows_what_ctrl_c_left(
    tmp_path: Path,
    moe_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 130, the rows, the chart and how to go on; then one line a row."""
    where = where_of(tmp_path, moe_path)
    monkeypatch.setattr(
        "placer.cli.speed_tables.SpeedView.tell",
        lambda _, event: Stops(Sample, 1)(event),
    )
    chart = tmp_path / "speed.svg"
    asked = ["--depth", "0", "-p", "8", "-n", "4", "--repeats", "2"]
    places = ["--conf", str(where.conf), "--models-dir", str(where.models)]
    argv = ["bench", "speed", "moe", *asked, *places, "--server", str(where.server)]
    argv += ["--logs", str(where.logs), "--chart", str(chart)]
    assert run(argv) == 130
    printed = capsys.readouterr()
    assert "tokens/s; interrupted" in printed.out
    assert "--resume goes on" in printed.err
    assert chart.read_text().startswith("<svg")
    assert run([*argv, "--resume", "--quiet"]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.split()[:5] == ["moe", "64", "32", "0", "1"]
    assert [float(figure) > 0 for figure in line.split()[5:]] == [True, True]
