"""Speed: a profile launched as it stands, asked at depths and by users, measured.

Every figure is on disk before the next; what Ctrl-C or a kill breaks off goes on with
what is left.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placer.app.speed_asking import Users
from placer.app.speed_question import (
    SpeedOptions,
    question_of,
    server_flags,
)
from placer.app.speed_record import (
    FOLDER,
    KIND,
    RESUMED,
    Past,
    Unfit,
    broken_off,
    past_of,
)
from placer.app.speed_rows import Row, Sample, rows_of
from placer.app.study import new_folder
from placer.app.target import Asked, resolve
from placer.app.testbed import open_testbed
from placer.engine.client import ServerAnswerError, ServerClient
from placer.errors import (
    InterruptedSearchError,
    JournalError,
    MachineError,
    PlacerError,
)
from placer.search.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.app.speed_question import Cell, Launch, Question, Settings
    from placer.app.target import Target
    from placer.app.testbed import Server, Testbed
    from placer.app.where import Where
    from placer.machine import Machine

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The devices are taken, and nothing is launched yet.

    Attributes:
        name: the profile.
        machine: the devices.
        question: what will be asked.
        placed: whose placement it is, in words.
        known: how many figures are on record already.
        compiles_shaders: whether the first prompt will take most of a minute more.
    """

    name: str
    machine: Machine
    question: Question
    placed: str
    known: int
    compiles_shaders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A launch begins; ``of`` are planned in all."""

    launch: Launch
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """A running server is asked."""

    launch: Launch
    cell: Cell


Event = Begun | Launching | Measuring | Sample | Unfit


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedBench:
    """What a bench of a profile's speed found.

    Attributes:
        name: the profile.
        folder: of its record.
        header: what was launched, on what, and what was asked.
        rows: a row a setting and cell.
        unfit: settings that could not be measured, or not at every depth.
        stopped: what broke it off; None where it is whole.
    """

    name: str
    folder: Path
    header: Mapping[str, Any]
    rows: tuple[Row, ...]
    unfit: tuple[Unfit, ...]
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """For scripts: 0 where anything was measured, else why nothing was."""
        return 0 if self.rows or not self.unfit else self.unfit[0].exit_code

    @property
    def devices(self) -> tuple[str, ...]:
        """Their names, in the order of the figures."""
        return tuple(device["name"] for device in self.header["devices"])


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBenched:
    """A profile among several that could not be measured at all."""

    name: str
    why: str
    exit_code: int


class InterruptedBenchError(InterruptedSearchError):
    """Ctrl-C; what was measured so far is kept.

    Args:
        found: what there is.
    """

    def __init__(self, found: SpeedBench) -> None:
        super().__init__(
            f"interrupted while the speed of {found.name} was measured",
            hint="the same command with --resume goes on",
        )
        self.found = found


def bench_speeds(
    names: Sequence[str],
    where: Where,
    options: SpeedOptions | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Iterator[SpeedBench | NotBenched]:
    """Profiles one after the other; of several, one that fails stops none.

    With ``resume`` those that are whole are told as they are, of several profiles, and
    those that were never begun are begun.

    Raises:
        InputError: no such profile; or, of a single one, all that
            :func:`bench_speed` raises.
        JournalError: a record cannot be written.
        InterruptedBenchError: Ctrl-C.
    """
    targets = [resolve(name, where.folders, Asked()) for name in dict.fromkeys(names)]
    asked = options or SpeedOptions()
    for target in targets:
        try:
            yield _bench(target, where, asked, on_event, is_only=len(targets) == 1)
        except (JournalError, InterruptedSearchError):
            raise
        except PlacerError as error:
            if len(targets) == 1:
                raise
            yield NotBenched(
                name=target.name, why=str(error), exit_code=error.exit_code
            )


def bench_speed(
    name: str,
    where: Where,
    options: SpeedOptions | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> SpeedBench:
    """How fast a profile reads and writes: by batch, depth and users.

    Raises:
        InputError: no such profile, a context too short for what is asked, or nothing
            to resume.
        MachineError: no engine, no device, or another search is using one.
        SearchError: the profile fits nowhere.
        JournalError: it cannot be recorded.
        InterruptedBenchError: Ctrl-C.
    """
    target = resolve(name, where.folders, Asked())
    return _bench(target, where, options or SpeedOptions(), on_event, is_only=True)


def _bench(
    target: Target,
    where: Where,
    options: SpeedOptions,
    on_event: Callable[[Event], None],
    *,
    is_only: bool,
) -> SpeedBench:
    what = f"placer bench speed {target.name}"
    flags = server_flags(target, options)
    with open_testbed(target, where, what=what, flags=flags) as bed:
        question = question_of(bed.target, options)
        header = {**bed.header(), **question.record()}
        parent = where.logs / target.name / FOLDER
        past = None
        if options.resume:
            past = (broken_off if is_only else past_of)(parent, header)
        session = _Session(
            bed=bed,
            question=question,
            header=header,
            past=past or Past(folder=new_folder(parent)),
            kind=KIND if past is None else RESUMED,
            patience_s=options.patience_s,
            on_event=on_event,
        )
        is_whole = past is not None and past.is_whole
        return session.found(None) if is_whole else session.run()


@dataclass(slots=True, kw_only=True)
class _Session:
    """A bench under way: each step is on disk before the next."""

    bed: Testbed
    question: Question
    header: dict[str, Any]
    past: Past
    kind: str
    patience_s: float
    on_event: Callable[[Event], None]
    samples: list[Sample] = field(init=False)
    unfit: list[Unfit] = field(init=False)
    _beds: dict[Settings, Testbed] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.samples, self.unfit = list(self.past.samples), list(self.past.unfit)

    def found(self, stopped: str | None) -> SpeedBench:
        """What there is so far."""
        return SpeedBench(
            name=self.bed.target.name,
            folder=self.past.folder,
            header=self.header,
            rows=rows_of(self.samples),
            unfit=tuple(self.unfit),
            stopped=stopped,
        )

    def run(self) -> SpeedBench:
        """All that is left to measure; the end is on record whatever it is."""
        with closing(Journal(self.past.folder)) as journal:
            journal.append(self.kind, self.header)
            try:
                self.on_event(self._begun())
                for launch in self.question.launches:
                    self._launch(launch, journal)
            except KeyboardInterrupt:
                raise InterruptedBenchError(self._end(journal, INTERRUPTED)) from None
            except PlacerError as error:
                self._end(journal, str(error))
                raise
            return self._end(journal, None)

    def _begun(self) -> Begun:
        rig = self.bed.rig
        return Begun(
            name=self.bed.target.name,
            machine=rig.machine,
            question=self.question,
            placed=self.bed.placed,
            known=len(self.samples),
            compiles_shaders=rig.compiles_shaders,
        )

    def _end(self, journal: Journal, stopped: str | None) -> SpeedBench:
        found = self.found(stopped)
        rows = [row.record() for row in found.rows]
        journal.append("end", {"stopped": stopped, "rows": rows})
        return found

    def _launch(self, launch: Launch, journal: Journal) -> None:
        """What is left of one launch; what cannot be measured is a row of its own."""
        measured = {one.cell for one in self.samples if one.launch == launch}
        cells = [cell for cell in self.question.cells if cell not in measured]
        is_unfit = any(one.settings == launch.settings for one in self.unfit)
        if is_unfit or not cells:
            return
        self.on_event(Launching(launch=launch, of=len(self.question.launches)))
        try:
            bed = self._bed(launch.settings)
            log_path = journal.log_path(f"{launch.number:03d}")
            with bed.server(log_path, patience_s=self.patience_s) as server:
                journal.append("launched", _launched_record(launch, bed, server))
                self._measure(launch, cells, server, journal)
        except JournalError:
            raise
        except PlacerError as error:
            self._leave(launch, str(error), error.exit_code, journal)

    def _bed(self, settings: Settings) -> Testbed:
        """With these settings; placed once."""
        if settings not in self._beds:
            self._beds[settings] = self.bed.under(_tokens(settings, self.bed.target))
        return self._beds[settings]

    def _measure(
        self,
        launch: Launch,
        cells: Sequence[Cell],
        server: Server,
        journal: Journal,
    ) -> None:
        """The cells; one that fails is the last."""
        url, n_vocab = server.base_url, self.bed.target.shape.n_vocab
        with ServerClient(url, read_timeout_s=self.patience_s) as client:
            users = Users(client=client, question=self.question, n_vocab=n_vocab)
            try:
                users.warm_up()
                for cell in cells:
                    self.on_event(Measuring(launch=launch, cell=cell))
                    pace = users.measure(cell, server.meter)
                    sample = Sample(launch=launch, cell=cell, pace=pace)
                    journal.append("measured", sample.record())
                    self.samples.append(sample)
                    self.on_event(sample)
            except ServerAnswerError as error:
                server.require()
                why = f"it does not answer: {error}"
                self._leave(launch, why, MachineError.exit_code, journal)

    def _leave(self, launch: Launch, why: str, code: int, journal: Journal) -> None:
        """No more of these settings."""
        unfit = Unfit(settings=launch.settings, why=why, exit_code=code)
        journal.append("unfit", unfit.record())
        self.unfit.append(unfit)
        self.on_event(unfit)


def _tokens(settings: Settings, target: Target) -> tuple[str, ...]:
    """Flags for what is not as the target has it already."""
    work = target.workload
    batch = () if settings.batch == work.batch else ("-b", str(settings.batch))
    ubatch = () if settings.ubatch == work.ubatch else ("-ub", str(settings.ubatch))
    return (*batch, *ubatch)


def _launched_record(launch: Launch, bed: Testbed, server: Server) -> dict[str, Any]:
    return {
        "number": launch.number,
        "repeat": launch.repeat,
        **launch.settings.record(),
        "load_s": round(server.up.load_s, 3),
        "args": list(bed.args),
        "placed": bed.placed,
    }
