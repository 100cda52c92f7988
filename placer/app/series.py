"""Searches one after the other: of every profile, or of both profiles of a model.

What became of each is on disk before the next begins, as is the search itself: what
was broken off goes on with the one in flight, and then with the rest.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from placer.app.study import StudyOptions, new_folder
from placer.app.target import model_path
from placer.app.turns import Ended, Turn, exit_code
from placer.app.variants import bench_comment, bench_values, placing_comment
from placer.app.verbs import apply, optimize
from placer.app.write import require_writable
from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
    PlacerError,
)
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.profiles import read_conf, read_proved, write_conf
from placer.search.journal import FILE_NAME, Journal, read_journal
from placer.search.records import read_study, study_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.app.lineup import Lineup, Waiting
    from placer.app.where import Where
    from placer.measure.events import Event as MeasureEvent
    from placer.search.events import Event
    from placer.search.records import StudyRecord

    Listener = Callable[[Event | MeasureEvent], None]

# One folder deeper than searches: what looks for searches does not see it.
FOLDER = "series"


class Series:
    """Profiles that wait for their search, and what became of the others.

    Args:
        where: engine, devices, files.
        options: of each search.
        write: whether answers are written to models.conf.
        journal: where turns are recorded.
        waiting: profiles to search, in order.
        done: what became of others already.
    """

    def __init__(
        self,
        *,
        where: Where,
        options: StudyOptions,
        write: bool,
        journal: Journal,
        waiting: tuple[Waiting, ...],
        done: tuple[Turn, ...],
    ) -> None:
        self._where = where
        self._options = replace(options, resume=False)
        self._write = write
        self._journal = journal
        self.waiting = waiting
        self.done = done

    def run(self, each: Waiting, on_event: Listener) -> Turn:
        """Search for one profile; a failure is its turn's, not an error.

        Raises:
            InterruptedSearchError: Ctrl-C.
            JournalError: what became of it cannot be recorded.
        """
        begun_s, since = time.monotonic(), self._since(each)
        self._journal.append("turn", {"profile": each.profile, "since": since})
        try:
            turn = self._searched(each, since, on_event)
        except (KeyboardInterrupt, InterruptedSearchError):
            raise self._interrupted(each) from None
        except PlacerError as error:
            turn = Turn(
                profile=each.profile,
                status=Ended.FAILED,
                reason=str(error),
                exit_code=error.exit_code,
                launches=self._launches(each.profile, since),
            )
        turn = replace(turn, seconds=round(time.monotonic() - begun_s, 1))
        self._journal.append("done", turn.as_json())
        self.done = (*self.done, turn)
        return turn

    def _interrupted(self, each: Waiting) -> InterruptedSearchError:
        number = self.waiting.index(each) + 1
        return InterruptedSearchError(
            f"interrupted at {each.profile}, {number} of {len(self.waiting)}",
            hint="the same command with --resume goes on with it and the rest",
        )

    def _searched(self, each: Waiting, since: str | None, on_event: Listener) -> Turn:
        if not self._is_there(each):
            return Turn(
                profile=each.profile,
                status=Ended.SKIPPED,
                reason="not in models.conf, which a dry run leaves as it is",
            )
        conf = read_conf(self._where.folders.conf_path)
        before = read_proved(conf.profile(each.profile))
        study = read_study(self._study_folder(each, since, on_event))
        was = None if before is None else before.decode_tokens_per_s
        return _found(each.profile, study, was)

    def _study_folder(
        self, each: Waiting, since: str | None, on_event: Listener
    ) -> Path:
        """Where the search is recorded; one that was broken off goes on."""
        begun = self._begun(each.profile, since)
        if begun is not None and begun.is_whole:
            # It ended, and placer was killed before it had said so.
            if self._write:
                apply(each.profile, self._where)
            return begun.folder
        found = optimize(
            each.profile,
            self._where,
            each.request,
            replace(self._options, resume=begun is not None),
            write=self._write,
            on_event=on_event,
        )
        return found.study.folder

    def _is_there(self, each: Waiting) -> bool:
        """Whether the profile is in models.conf; a bench variant is added to it."""
        path = self._where.folders.conf_path
        conf = read_conf(path)
        is_there = any(profile.id == each.profile for profile in conf.profiles)
        if is_there or each.production is None:
            return True
        if not self._write:
            return False
        production = conf.profile(each.production)
        file = read_gguf(model_path(production.model or "", self._where.folders))
        values = bench_values(production, model_shape(file).context_length)
        comments = (bench_comment(production.id), placing_comment(each.profile))
        write_conf(conf.added(each.profile, values, comments), path)
        return True

    def _since(self, each: Waiting) -> str | None:
        """The newest search before this turn, which is none of it."""
        if each.is_begun:
            return each.since
        folders = study_folders(self._where.logs, each.profile)
        return folders[-1].name if folders else None

    def _begun(self, profile: str, since: str | None) -> StudyRecord | None:
        """The search that this turn has made already; None where there is none."""
        folders = study_folders(self._where.logs, profile)
        if not folders or folders[-1].name == since:
            return None
        try:
            return read_study(folders[-1])
        except JournalError:
            # It was killed before its first line was whole: there is nothing to lose.
            return None

    def _launches(self, profile: str, since: str | None) -> int:
        begun = self._begun(profile, since)
        return 0 if begun is None else len(begun.trials)


def _found(profile: str, study: StudyRecord, was: float | None) -> Turn:
    best = study.best_so_far
    if best is None:
        raise AssertionError("a search that ended has an answer")
    args = best["args"]
    return Turn(
        profile=profile,
        status=Ended.FOUND,
        strategy=best["strategy"],
        args=tuple(args[args.index("-ngl") :]),
        launches=len(study.trials),
        was_tokens_per_s=was,
        tokens_per_s=best["decode_tokens_per_s"],
        emulated=bool(study.header.get("emulated")),
        study=str(study.folder),
    )


@contextmanager
def open_series(
    lineup: Lineup, where: Where, options: StudyOptions, *, write: bool = True
) -> Iterator[Series]:
    """The profiles of a line-up, or with ``resume`` what is left of the newest one.

    Args:
        lineup: the profiles, and what is asked of each.
        where: engine, devices, files.
        options: of each search.
        write: False leaves models.conf as it is.

    Raises:
        InputError: there is nothing to resume, it was asked something else, or
            models.conf cannot be written.
        JournalError: it cannot be recorded.
    """
    if write:
        require_writable(where.folders.conf_path)
    parent = where.logs / lineup.name / FOLDER
    asked = repr((lineup.request, replace(options, resume=False), write))
    folder, waiting, done = new_folder(parent), lineup.waiting, lineup.skipped
    if options.resume:
        folder, waiting, done = _rest(parent, lineup, asked)
    with closing(Journal(folder)) as journal:
        if not options.resume:
            journal.append("series", _header(lineup, asked))
        series = Series(
            where=where,
            options=options,
            write=write,
            journal=journal,
            waiting=waiting,
            done=done,
        )
        yield series
        if len(series.done) == len(done) + len(waiting):
            journal.append("end", {"exit_code": exit_code(series.done)})


def _header(lineup: Lineup, asked: str) -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "asked": asked,
        "waiting": [each.profile for each in lineup.waiting],
        "skipped": [turn.as_json() for turn in lineup.skipped],
    }


def _rest(
    parent: Path, lineup: Lineup, asked: str
) -> tuple[Path, tuple[Waiting, ...], tuple[Turn, ...]]:
    """What is left of the newest series, and what became of the others."""
    folders = sorted(path.parent for path in parent.glob(f"*/{FILE_NAME}"))
    records = read_journal(folders[-1] / FILE_NAME) if folders else ()
    if not records or records[-1]["kind"] == "end":
        raise InputError(
            f"no searches of {lineup.name!r} one after the other were broken off",
            hint="leave out --resume to start",
        )
    header = records[0]
    if header.get("asked") != asked:
        raise InputError(
            f"the searches in {folders[-1]} were asked something else",
            hint="start anew without --resume, or ask what they were asked",
        )
    done = [Turn.of_json(r) for r in records if r["kind"] == "done"]
    begun = {r["profile"]: r["since"] for r in records if r["kind"] == "turn"}
    ended = {turn.profile for turn in done}
    left = (lineup.candidate(name) for name in header["waiting"] if name not in ended)
    waiting = tuple(
        replace(each, is_begun=True, since=begun[each.profile])
        if each.profile in begun
        else each
        for each in left
    )
    skipped = [Turn.of_json(record) for record in header["skipped"]]
    return folders[-1], waiting, (*skipped, *done)
