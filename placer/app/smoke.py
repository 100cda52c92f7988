"""A smoke test: a profile as it stands, held to the last one that was good."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from placer.app.compared import Kind
from placer.app.smoke_asking import Asker, Launch
from placer.app.smoke_compared import held_to, status_of
from placer.app.smoke_question import Question, SmokeOptions, question_of
from placer.app.smoke_record import FOLDER, KIND, newest_past, together
from placer.app.standing import own_placement
from placer.app.study import new_folder
from placer.app.target import Asked, resolve
from placer.app.testbed import AS_IT_STANDS, open_testbed
from placer.app.verified import Status
from placer.engine.judge import Outcome
from placer.errors import (
    InterruptedSearchError,
    JournalError,
    PlacerError,
    SearchError,
)
from placer.search.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.app.compared import Figure
    from placer.app.smoke_record import Look, Past
    from placer.app.testbed import Testbed
    from placer.app.verified import Verification
    from placer.app.where import Where

EMULATED = "the speed of emulated devices means nothing: not compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An engine.

    Attributes:
        name: what it calls itself.
        file: the name of its program; None of a record that does not tell.
    """

    name: str
    file: str | None = None

    @property
    def text(self) -> str:
        """Both."""
        return self.name if self.file is None else f"{self.file} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoke:
    """What a smoke test of a profile found.

    Attributes:
        name: the profile.
        status: what became of it.
        reason: why there was nothing to compare with, or nothing was launched.
        exit_code: of what kept it from being tested; 0 where nothing did.
        is_pair: whether two engines were launched in turn.
        old: the engine of the record, or A; None where there is none.
        new: the engine of now, or B.
        recorded: the folder of the record that it was held to.
        folder: of its own record.
        figures: what was compared.
        notes: what else to know, in words.
        is_accepted: whether it is the record from now on, whatever it says.
    """

    name: str
    status: Status
    reason: str | None = None
    exit_code: int = 0
    is_pair: bool = False
    old: Build | None = None
    new: Build | None = None
    recorded: Path | None = None
    folder: Path | None = None
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    is_accepted: bool = False

    @property
    def code(self) -> int:
        """For scripts: 4 for a regression."""
        return SearchError.exit_code if self.status.is_regression else self.exit_code

    def record(self) -> dict[str, Any]:
        """As the journal's last line and ``--json`` have it."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "is_pair": self.is_pair,
            "accepted": self.is_accepted,
            "old": None if self.old is None else asdict(self.old),
            "new": None if self.new is None else asdict(self.new),
            "recorded": None if self.recorded is None else str(self.recorded),
            "figures": [figure_record(one) for one in self.figures],
            "notes": list(self.notes),
        }


def figure_record(figure: Figure) -> dict[str, Any]:
    """A figure for the journal."""
    kind = None if figure.kind is None else figure.kind.value
    return asdict(figure) | {"kind": kind}


def with_smoke(
    found: Verification,
    where: Where,
    options: SmokeOptions,
    on_step: Callable[[str], None] = lambda _: None,
) -> Verification:
    """A verification with a smoke test behind it, where its launch fits.

    Raises:
        JournalError: it cannot be recorded, or a record is damaged.
        InterruptedSearchError: Ctrl-C.
    """
    if found.verdict is None or found.verdict.outcome is not Outcome.FITS:
        return found
    return replace(found, smoke=smoke_profile(found.name, where, options, on_step))


def smoke_profile(
    name: str,
    where: Where,
    options: SmokeOptions | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Smoke:
    """One profile, held to the newest smoke test of the same that was good.

    It is launched once, and a second time only if it was slower; what keeps it from
    being launched is its reason, not an error.

    Raises:
        JournalError: it cannot be recorded, or a record is damaged.
        InterruptedSearchError: Ctrl-C.
    """
    asked = options or SmokeOptions()
    try:
        target = resolve(name, where.folders, Asked())
        with open_testbed(target, where, what=f"placer verify {name}") as opened:
            bed = as_it_stands(opened)
            question = question_of(bed.target, asked)
            header = header_of(bed, question, is_pair=False)
            past, missing = newest_past(where.logs / name / FOLDER, header)
            check = _Check(
                bed=bed,
                question=question,
                options=asked,
                header=header,
                past=past,
                missing=missing or None,
                on_step=on_step,
            )
            return check.run(where.logs / name / FOLDER)
    except (JournalError, InterruptedSearchError):
        raise
    except PlacerError as error:
        return not_smoked(name, error)


def as_it_stands(bed: Testbed) -> Testbed:
    """With the profile's own placement, whatever the formula says of it.

    Raises:
        InputError: it has none.
    """
    own = own_placement(bed.target)
    return replace(bed, placement=own, placed=AS_IT_STANDS)


def header_of(bed: Testbed, question: Question, *, is_pair: bool) -> dict[str, Any]:
    """The first line of a record."""
    return {
        **bed.header(),
        "server": bed.rig.engine.binary.name,
        "is_pair": is_pair,
        **question.record(),
    }


def not_smoked(name: str, error: PlacerError) -> Smoke:
    """A profile that could not be tested."""
    return Smoke(
        name=name,
        status=Status.NOT_VERIFIED,
        reason=str(error),
        exit_code=error.exit_code,
    )


def recorded_run(
    folder: Path, header: Mapping[str, Any], work: Callable[[Journal], Smoke]
) -> Smoke:
    """A test whose end is on record, whatever it is.

    Raises:
        InterruptedSearchError: Ctrl-C.
    """
    with closing(Journal(folder)) as journal:
        journal.append(KIND, header)
        try:
            found = replace(work(journal), folder=folder)
        except KeyboardInterrupt:
            journal.append("end", {"stopped": "interrupted"})
            raise InterruptedSearchError(
                f"interrupted while testing {header['profile']}"
            ) from None
        except PlacerError as error:
            journal.append("end", {"stopped": str(error)})
            raise
        journal.append("end", {"stopped": None, **found.record()})
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One profile, being tested."""

    bed: Testbed
    question: Question
    options: SmokeOptions
    header: dict[str, Any]
    past: Past | None
    missing: str | None
    on_step: Callable[[str], None]

    def run(self, parent: Path) -> Smoke:
        return recorded_run(new_folder(parent), self.header, self._found)

    def _found(self, journal: Journal) -> Smoke:
        asker = Asker(
            question=self.question,
            journal=journal,
            patience_s=self.options.patience_s,
            on_step=self.on_step,
        )
        look = asker.look(self.bed, Launch(number=1), self.question.exam)
        found = self._held(look)
        if not any(f.is_slower for f in found.figures):
            return found
        again = asker.look(self.bed, Launch(number=2))
        return self._held(together([look, again], look.answers))

    def _held(self, look: Look) -> Smoke:
        past = self.past
        headers = [self.header] if past is None else [past.header, self.header]
        figures = held_to(
            None if past is None else past.look,
            look,
            [device["name"] for device in self.header["devices"]],
            self.options.tolerance,
            is_timed=not any(header["emulated"] for header in headers),
        )
        return Smoke(
            name=self.bed.target.name,
            status=Status.NO_RECORD if past is None else status_of(figures),
            reason=self.missing,
            old=None if past is None else build_of(past.header),
            new=build_of(self.header),
            recorded=None if past is None else past.folder,
            figures=figures,
            notes=tuple(self._notes(look, figures)),
            is_accepted=self.options.is_accepted,
        )

    def _notes(self, look: Look, figures: Sequence[Figure]) -> Iterator[str]:
        if self.past is not None:
            yield from _changes(self.past.header, self.header)
        if self.header["emulated"]:
            yield EMULATED
        yield from notes_of(self.question, look)
        if any(f.kind is Kind.WORSE for f in figures):
            yield (
                "this becomes the record with --accept"
                if not self.options.is_accepted
                else "accepted: this is the record from now on"
            )


def build_of(header: Mapping[str, Any]) -> Build:
    """The engine of a record."""
    return Build(name=header["engine"], file=header["server"])


def notes_of(question: Question, look: Look) -> Iterator[str]:
    """What could not be asked."""
    if look.expected is None:
        yield "it does not say what it expects: not compared"
    if question.exam is not None and question.exam.note is not None:
        yield question.exam.note


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What else is not as it was recorded."""
    flags = [" ".join(header["extra_args"]) or "none" for header in (then, now)]
    if flags[0] != flags[1]:
        yield f"other flags: {flags[0]} when recorded, {flags[1]} now"
    drivers = [{d["driver"] for d in header["devices"]} for header in (then, now)]
    if drivers[0] != drivers[1]:
        was, is_now = (", ".join(sorted(map(str, one))) for one in drivers)
        yield f"another driver: {was} when recorded, {is_now} now"
