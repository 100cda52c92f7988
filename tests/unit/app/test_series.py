"""Searches one after the other: what fails, what is skipped, what goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from placer import app
from placer.app.lineup import both_variants, every_profile
from placer.app.series import FOLDER, Series, open_series
from placer.app.turns import Ended, Turn, exit_code
from placer.errors import InputError, InterruptedSearchError, JournalError, MachineError
from placer.profiles import read_conf
from placer.search.events import Launching, TrialDone
from placer.search.journal import FILE_NAME, Journal, read_journal
from placer.search.records import read_study, study_folders
from placer.testing.fake_engine import fake_engine, launches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARGS = "-b 256 -ub 64 -np 1"
A = f"""\
[a]
MODEL=moe.gguf
CTX_SIZE=512
EXTRA_ARGS={ARGS}
"""
# Its device is not there: it fails before anything is launched.
ODD = f"""\
[odd]
MODEL=moe.gguf
CTX_SIZE=512
EXTRA_ARGS={ARGS} -dev CUDA7
"""
B = A.replace("[a]", "[b]").replace("512", "1024")
CONF = f"{A}[gone]\nMODEL=gone.gguf\n{ODD}{B}"
WORDS = {"a": "found", "odd": "failed", "b": "found", "gone": "skipped"}
QUICK = app.StudyOptions()


def ignore(event: Any) -> None:
    """Nobody is listening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A folder with four profiles, two of which can be searched."""

    folder: Path
    models: Path
    engine: Path

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    @property
    def where(self) -> app.Where:
        """Engine and files."""
        return app.Where(
            server=self.engine,
            conf=self.conf,
            models=self.models,
            logs=self.folder / "search_logs",
        )

    def every(
        self,
        options: app.StudyOptions = QUICK,
        on_event: Callable[[Any], None] = ignore,
    ) -> dict[str, Turn]:
        """Every profile; what became of each."""
        lineup = every_profile(self.where, app.Request())
        with open_series(lineup, self.where, options) as series:
            return run(series, on_event)

    def variants(
        self, name: str, request: app.Request, *, write: bool = True
    ) -> dict[str, Turn]:
        """Both variants of a profile."""
        lineup = both_variants(name, ("production", "bench"), self.where, request)
        with open_series(lineup, self.where, QUICK, write=write) as series:
            return run(series, ignore)

    def waiting(self, *, again: bool = False, **values: int) -> list[str]:
        """The profiles that would be searched."""
        lineup = every_profile(self.where, app.Request(values=values), again=again)
        return [one.profile for one in lineup.waiting]

    def n_launches(self) -> int:
        """How often the engine was told to load a model for good."""
        return sum(not launch.dry_run for launch in launches(self.engine))

    def journal(self, name: str = "all") -> Path:
        """That of the only series."""
        (path,) = (self.where.logs / name / FOLDER).glob(f"*/{FILE_NAME}")
        return path

    def kinds(self, name: str = "all") -> list[str]:
        """Of the lines of the journal."""
        return [record["kind"] for record in read_journal(self.journal(name))]


def run(series: Series, on_event: Callable[[Any], None]) -> dict[str, Turn]:
    """Search for each that waits."""
    for each in series.waiting:
        series.run(each, on_event)
    return {turn.profile: turn for turn in series.done}


def statuses(found: dict[str, Turn]) -> dict[str, str]:
    """What became of each, in one word."""
    return {name: turn.status.value for name, turn in found.items()}


def made(folder: Path, models: Path) -> Desk:
    """Two devices that hold some of the experts."""
    engine = fake_engine(folder, devices={"Vulkan0": 40, "Vulkan1": 20})
    (folder / "models.conf").write_text(CONF)
    return Desk(folder=folder, models=models, engine=engine)


@pytest.fixture
def desk(tmp_path: Path, moe_path: Path) -> Desk:
    """Nothing is searched yet."""
    return made(tmp_path, moe_path.parent)


@pytest.fixture(scope="module")
def night(
    tmp_path_factory: pytest.TempPathFactory, moe_path: Path
) -> tuple[Desk, dict[str, Turn]]:
    """A desk after a night, and what became of each profile."""
    desk = made(tmp_path_factory.mktemp("night"), moe_path.parent)
    return desk, desk.every()


@pytest.fixture
def morning(night: tuple[Desk, dict[str, Turn]], tmp_path: Path) -> Desk:
    """A desk after a night, to work on."""
    shutil.copytree(night[0].folder, tmp_path, dirs_exist_ok=True)
    return replace(night[0], folder=tmp_path)


def test_one_that_fails_does_not_stop_the_others(
    night: tuple[Desk, dict[str, Turn]],
) -> None:
    """Each is found, failed or skipped; the exit code is the worst."""
    desk, found = night
    assert statuses(found) == WORDS
    assert found["gone"].reason == "model gone.gguf was not found"
    assert "CUDA7" in (found["odd"].reason or "")
    assert exit_code(tuple(found.values())) == found["odd"].exit_code == 2
    for name in ("a", "b"):
        assert found[name].launches >= 1
        assert found[name].args[0] == "-ngl"
        assert found[name].study == str(study_folders(desk.where.logs, name)[-1])
        assert read_conf(desk.conf).profile(name).provenance_holds
    last = read_journal(desk.journal())[-1]
    assert last == {"kind": "end", "exit_code": 2}


def test_what_is_proved_is_not_searched_again(morning: Desk) -> None:
    """Unless that is asked, or something else than it says, or it was edited."""
    skipped = every_profile(morning.where, app.Request()).skipped
    reasons = {turn.profile: turn.reason or "" for turn in skipped}
    assert "already; --again searches it" in reasons["a"]
    assert morning.waiting() == ["odd"]
    assert morning.waiting(again=True) == ["a", "odd", "b"]
    assert morning.waiting(ubatch=32) == ["a", "odd", "b"]
    text = morning.conf.read_text()
    morning.conf.write_text(text.replace("CTX_SIZE=1024", "CTX_SIZE=768"))
    assert morning.waiting() == ["odd", "b"]


def test_a_proof_on_emulated_devices_is_none_on_real_ones(morning: Desk) -> None:
    """Nor the other way round."""
    emulated = replace(morning.where, emulate=(40, 20))
    waiting = every_profile(emulated, app.Request()).waiting
    assert [one.profile for one in waiting] == ["a", "odd", "b"]


def test_an_interrupted_series_goes_on_with_the_rest(desk: Desk) -> None:
    """What ended is not made again, what was in flight goes on, the rest follows."""
    desk.conf.write_text(f"{ODD}{A}{ODD.replace('[odd]', '[last]')}")

    def interrupt(event: Any) -> None:
        if isinstance(event, TrialDone):
            raise KeyboardInterrupt

    with pytest.raises(InterruptedSearchError, match=r"at a, 2 of 3; .* --resume"):
        desk.every(on_event=interrupt)
    assert desk.kinds() == ["series", "turn", "done", "turn"]
    before = desk.n_launches()
    found = desk.every(app.StudyOptions(resume=True))

    assert statuses(found) == {"odd": "failed", "a": "found", "last": "failed"}
    (folder,) = study_folders(desk.where.logs)
    study = read_study(folder)
    assert study.is_whole
    assert found["a"].launches == len(study.trials) > desk.n_launches() - before
    assert desk.kinds()[4:] == ["turn", "done", "turn", "done", "end"]
    with pytest.raises(InputError, match="were broken off; leave out --resume"):
        desk.every(app.StudyOptions(resume=True))


@pytest.mark.parametrize("is_written", [True, False])
def test_a_search_that_ended_unsaid_is_not_made_again(
    morning: Desk, *, is_written: bool
) -> None:
    """Killed between its last line and the series' own, its answer is still written."""
    lines = morning.journal().read_bytes().splitlines(keepends=True)
    morning.journal().write_bytes(b"".join(lines[:-2]))
    if not is_written:
        morning.conf.write_text(CONF)
    before = morning.n_launches()
    found = morning.every(app.StudyOptions(resume=True))
    assert statuses(found) == WORDS
    assert morning.n_launches() == before
    profile = read_conf(morning.conf).profile("b")
    assert profile.provenance_holds
    assert profile.speed == f"{found['b'].tokens_per_s:.1f} t/s"
    was = found["b"].was_tokens_per_s
    assert was == pytest.approx(found["b"].tokens_per_s, abs=0.06) or not is_written


def test_another_question_is_not_gone_on_with(desk: Desk) -> None:
    """Other options, another workload, another models.conf."""

    def interrupt(event: Any) -> None:
        if isinstance(event, Launching):
            raise KeyboardInterrupt

    resumed = app.StudyOptions(resume=True)
    with pytest.raises(InterruptedSearchError, match="at a, 1 of 3"):
        desk.every(on_event=interrupt)
    with pytest.raises(InputError, match="were asked something else"):
        desk.every(app.StudyOptions(resume=True, by_launch=True))
    wider = every_profile(desk.where, app.Request(values={"ctx": 256}))
    with (
        pytest.raises(InputError, match="were asked something else"),
        open_series(wider, desk.where, resumed),
    ):
        pass
    desk.conf.write_text(CONF.replace("[b]", "[c]"))
    with pytest.raises(InputError, match=r"\[b\] has gone from models.conf"):
        desk.every(resumed)


def test_a_full_disk_ends_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be recorded is not gone on with."""
    kept = Journal.append

    def append(self: Journal, kind: str, record: Any) -> None:
        if kind == "done":
            raise JournalError("cannot be written: No space left on device")
        kept(self, kind, record)

    monkeypatch.setattr(Journal, "append", append)
    desk.conf.write_text(ODD + B)
    with pytest.raises(JournalError, match="No space left"):
        desk.every()
    assert desk.kinds() == ["series", "turn"]


def test_a_turn_survives_its_record() -> None:
    """As the journal keeps it."""
    turn = Turn(profile="a", status=Ended.FOUND, args=("-ngl", "4"), seconds=1.5)
    assert Turn.of_json(json.loads(json.dumps(turn.as_json()))) == turn


def test_both_variants_of_a_model(desk: Desk) -> None:
    """The bench profile is added, made of the production profile as it was written."""
    asked = app.Request(values={"type_k": "q8_0", "ubatch": 32, "ctx": 256})
    found = desk.variants("a", asked)
    assert statuses(found) == {"a": "found", "bench-a": "found"}
    conf = read_conf(desk.conf)
    bench, production = conf.profile("bench-a"), conf.profile("a")
    assert (bench.ctx_size, production.ctx_size) == (10240, 256)
    assert "-ctk q8_0" in " ".join(bench.extra_args)
    assert "-b 512 -ub 512" in " ".join(bench.extra_args)
    assert "-ub 32" in " ".join(production.extra_args)
    assert desk.kinds("a")[-1] == "end"


def test_a_bench_profile_keeps_its_own_size(desk: Desk) -> None:
    """What is asked of the production profile's size is not asked of it."""
    asked = app.Request(values={"ctx": 256, "batch": 64, "type_k": "q8_0"})
    lineup = both_variants("a", ("production", "bench"), desk.where, asked)
    production, bench = lineup.waiting
    assert production.request == asked
    assert bench.request.values == {"type_k": "q8_0"}


def test_a_dry_run_adds_no_variant(desk: Desk) -> None:
    """It is skipped, and the file is as it was."""
    found = desk.variants("odd", app.Request(), write=False)
    assert statuses(found) == {"odd": "failed", "bench-odd": "skipped"}
    assert desk.conf.read_text() == CONF


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no", "no profile 'no'"),
        ("bench-a", r"\[bench-a\] is the bench variant of \[a\]"),
        ("m.gguf", "m.gguf is no profile; placer new"),
    ],
)
def test_variants_are_of_a_production_profile(desk: Desk, name: str, says: str) -> None:
    """Everything else is told before the first launch."""
    desk.conf.write_text(f"{CONF}[bench-a]\nMODEL=moe.gguf\n")
    with pytest.raises(InputError, match=says):
        both_variants(name, ("bench",), desk.where, app.Request())


def test_nothing_to_search_is_not_all_well(desk: Desk) -> None:
    """No model is there, no engine is there, the file is read-only."""
    nowhere = replace(desk.where, models=desk.folder / "nowhere")
    with pytest.raises(InputError, match="no profile whose model is there"):
        every_profile(nowhere, app.Request())
    without = replace(desk.where, server=desk.folder / "no")
    with pytest.raises(MachineError, match="no such program"):
        every_profile(without, app.Request())
    desk.conf.chmod(0o444)
    with pytest.raises(InputError, match="read-only"):
        desk.every()
