"""Quality: a profile's server is asked for code, and the code is put to the test.

What Ctrl-C or a kill breaks off goes on with what is left, and asks nothing twice.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.quality_asking import UnderWay
from placer.app.quality_options import Begun, Event, Progress, QualityOptions
from placer.app.quality_record import FOLDER, KIND, RESUMED, Answers, Past, past_of
from placer.app.quality_score import Quality
from placer.app.study import new_folder
from placer.app.target import Asked, resolve
from placer.app.testbed import open_testbed
from placer.app.variants import BENCH, variant_id
from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
    PlacerError,
)
from placer.search.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.app.testbed import Testbed
    from placer.app.where import Where
    from placer.quality.suite import Suite
    from placer.sandbox import Sandbox

__all__ = [
    "Begun",
    "Bench",
    "Event",
    "Progress",
    "QualityBench",
    "QualityOptions",
    "bench_qualities",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBench:
    """What became of a profile.

    Attributes:
        name: the profile that was asked for.
        measured: the one that was measured: it, or its bench variant.
        suite: the name of the suite.
        found: what was found; None where it could not be measured.
        header: what was launched and asked; None likewise.
        folder: of its record; None where there is none.
        answers: all of them.
        reason: why it could not be measured.
        exit_code: likewise; 0 where it could.
        emulated: whether the devices are not real: their speed means nothing.
    """

    name: str
    measured: str
    suite: str
    found: Quality | None = None
    header: Mapping[str, Any] | None = None
    folder: Path | None = None
    answers: Answers | None = None
    reason: str | None = None
    exit_code: int = 0

    @property
    def emulated(self) -> bool:
        """Whether the devices are not real: their speed means nothing."""
        return self.header is not None and bool(self.header["emulated"])


def bench_qualities(
    names: Sequence[str],
    where: Where,
    options: QualityOptions,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Iterator[QualityBench]:
    """Profiles one after the other; one that does not run does not stop the others.

    Args:
        names: profiles or model files.
        where: engine, devices, files.
        options: what is asked.
        on_event: told of all that happens.

    Raises:
        InputError: no such suite, its data is not here, or there is nothing to resume.
        MachineError: no sandbox works.
        JournalError: an answer cannot be recorded.
        InterruptedSearchError: Ctrl-C.
    """
    from placer.quality.suite import load_suite
    from placer.sandbox import find_sandbox

    suite = load_suite(options.suite, limit=options.limit, only=options.only)
    chosen = {name: _variant(name, where, options) for name in dict.fromkeys(names)}
    if options.resume:
        _require_records(chosen, where)
    sandbox = find_sandbox(options.sandbox)
    for name, measured in chosen.items():
        bench = Bench(
            name=name, measured=measured, suite=suite, sandbox=sandbox, options=options
        )
        try:
            yield bench.run(where, on_event)
        except (JournalError, InterruptedSearchError):
            raise
        except PlacerError as error:
            yield QualityBench(
                name=name,
                measured=measured,
                suite=suite.name,
                reason=str(error),
                exit_code=error.exit_code,
            )


def _variant(name: str, where: Where, options: QualityOptions) -> str:
    """The bench variant of a profile that has one."""
    from placer.profiles import read_conf

    if options.as_is or name.endswith(".gguf"):
        return name
    conf = read_conf(where.folders.conf_path)
    bench = variant_id(name, BENCH)
    return bench if bench in {profile.id for profile in conf.profiles} else name


def _require_records(chosen: Mapping[str, str], where: Where) -> None:
    for measured in chosen.values():
        if any((where.logs / measured / FOLDER).glob("*")):
            return
    raise InputError(
        f"no bench of {', '.join(chosen)} is on record under {where.logs}",
        hint="leave out --resume to begin one",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One profile, and all that is asked of it.

    Attributes:
        name: the profile that was asked for.
        measured: the one that is measured.
        suite: the problems.
        sandbox: what runs in it.
        options: how they are asked.
    """

    name: str
    measured: str
    suite: Suite
    sandbox: Sandbox
    options: QualityOptions

    def run(self, where: Where, on_event: Callable[[Event], None]) -> QualityBench:
        """Ask all, or what is left of it.

        Raises:
            PlacerError: it cannot be measured.
        """
        target = resolve(self.measured, where.folders, Asked())
        what = f"placer bench quality {self.name}"
        with open_testbed(target, where, what=what) as bed:
            header = self._header(bed)
            parent = where.logs / target.name / FOLDER
            past = past_of(parent, header) if self.options.resume else None
            if past is not None and past.end is not None:
                return self._on_record(past, past.end)
            folder = new_folder(parent) if past is None else past.folder
            with closing(Journal(folder)) as journal:
                journal.append(KIND if past is None else RESUMED, header)
                under_way = UnderWay(
                    bench=self,
                    bed=bed,
                    journal=journal,
                    past=past,
                    answers=Answers() if past is None else past.answers,
                    on_event=on_event,
                )
                found = under_way.run()
        return QualityBench(
            name=self.name,
            measured=self.measured,
            suite=self.suite.name,
            found=found,
            header=header,
            folder=folder,
            answers=under_way.answers,
        )

    def users(self, bed: Testbed) -> int:
        """Who ask at once: never more than there are slots."""
        slots = bed.target.workload.parallel
        return min(self.options.users or slots, slots)

    def _header(self, bed: Testbed) -> dict[str, Any]:
        asking = self.options.asking
        return {
            **bed.header(),
            "suite": self.suite.name,
            "title": self.suite.title,
            "digest": self.suite.digest,
            "problems": [problem.id for problem in self.suite.problems],
            "samples": self.options.samples,
            "k": list(self.options.ks),
            "sampling": dict(asking.sampling),
            "style": asking.style.value,
            "max_tokens": asking.max_tokens,
            "users": self.users(bed),
            "sandbox": self.sandbox.name,
        }

    def _on_record(self, past: Past, end: Mapping[str, Any]) -> QualityBench:
        return QualityBench(
            name=self.name,
            measured=self.measured,
            suite=self.suite.name,
            found=Quality.of_record(end),
            header=past.header,
            folder=past.folder,
            answers=past.answers,
        )
