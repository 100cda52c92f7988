"""What ``placer bench quality`` shows: while it asks, and in the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from placer.app.quality_bench import Begun, Event, Progress, QualityBench
from placer.app.quality_references import (
    Reference,
    add_reference,
    read_references,
    today,
)
from placer.cli import jsons
from placer.cli.out import console
from placer.quality.grade import Grade
from placer.units import duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from placer.app.quality_score import Quality
    from placer.experiment.passes import Score

DASH = "-"
WIDE = 110
REFRESH_PER_S = 4
STYLES = {Grade.PASSED: "green", Grade.BASE_ONLY: "yellow"}
EMULATED = "The speed of emulated devices means nothing."


@contextmanager
def quality_view(*, quiet: bool) -> Iterator[QualityView]:
    """A listener: a live line on a terminal, a line a grade elsewhere."""
    out = console()
    if quiet or not out.is_terminal:
        yield QualityView(out, quiet=quiet)
        return
    with Live(console=out, refresh_per_second=REFRESH_PER_S, transient=True) as live:
        yield QualityView(out, quiet=False, live=live)


class QualityView:
    """What is known of a bench so far."""

    def __init__(self, out: Console, *, quiet: bool, live: Live | None = None) -> None:
        self._out = out
        self._quiet = quiet
        self._live = live

    def tell(self, event: Event) -> None:
        """Take in an event."""
        if self._quiet:
            return
        if isinstance(event, Begun):
            for line in _begun(event):
                self._print(line)
            self._show("loading")
        else:
            # On a terminal what passed is counted, and what did not is told.
            if self._live is None or event.graded.grade is not Grade.PASSED:
                self._print(_graded(event))
            self._show(_progress(event))

    def done(self, found: QualityBench) -> None:
        """A profile is through."""
        if self._quiet:
            return
        for line in _end(found):
            self._print(line)
        self._show("")

    def _show(self, text: str) -> None:
        if self._live is not None:
            self._live.update(Text(text, no_wrap=True))

    def _print(self, line: Text) -> None:
        self._out.print(line, soft_wrap=not self._out.is_terminal)


def _begun(event: Begun) -> Iterator[Text]:
    yield Text(event.name, "bold")
    suite, count = event.suite, len(event.suite.problems)
    problems = "1 problem" if count == 1 else f"{count} problems"
    text = f"{suite.title}, {problems}, {event.total} answers"
    yield Text(f"{text}; placement {event.placed}", "dim")
    if event.known:
        yield Text(
            f"{event.known} of {event.total} answers are on record already", "dim"
        )
    for note in event.notes:
        yield Text(note, "yellow")


def _graded(event: Progress) -> Text:
    graded = event.graded
    text = Text(f"  {event.done:>4} of {event.total}  ", "dim")
    text.append(f"{graded.problem} ", "none")
    text.append(graded.grade.value, STYLES.get(graded.grade, "red"))
    return text.append(f"  {graded.detail}" if graded.detail else "", "dim")


def _progress(event: Progress) -> str:
    left = duration_text(event.left_s)
    cut = f", {event.truncated} cut off" if event.truncated else ""
    return (
        f"{event.done} of {event.total}, {event.passed} passed{cut}, "
        f"{event.tokens_per_s:,.1f} tokens/s, {left} left"
    )


def _end(found: QualityBench) -> Iterator[Text]:
    """What a profile amounts to, in lines."""
    if found.found is None:
        yield Text(f"{found.name}: {found.reason}", "red")
        return
    quality = found.found
    for score in quality.scores:
        yield Text(f"{found.measured}: {_score(score)}", "bold")
    for score in quality.base:
        yield Text(f"  by the suite's own tests alone {_score(score)}")
    yield Text(f"  {_grades(quality)}")
    if quality.is_cut_short:
        text = "so many answers were cut off that the score says little of the model"
        yield Text(f"  {text}: give more --max-tokens, or --thinking off", "yellow")
    yield Text(f"  Record: {found.folder}", "dim")


def _score(score: Score) -> str:
    """``"pass@1 61.0 % (53.4 to 68.1 %) of 164 problems"``."""
    low, high = 100 * score.low, 100 * score.high
    interval = f"({low:.1f} to {high:.1f} %)"
    return f"pass@{score.k} {_percent(score)} {interval} of {score.problems} problems"


def _percent(score: Score) -> str:
    return f"{100 * score.mean:.1f} %"


def _grades(quality: Quality) -> str:
    """``"100 passed, 60 failed, 4 truncated"``."""
    return ", ".join(f"{n} {name}" for name, n in quality.grades.items())


def line(found: QualityBench) -> None:
    """A profile for scripts."""
    if found.found is None:
        click.echo(f"{found.name} not-measured")
        return
    score = found.found.scores[0]
    figures = (100 * share for share in (score.mean, score.low, score.high))
    click.echo(f"{found.name} {' '.join(f'{figure:.1f}' for figure in figures)}")


def table(found: Sequence[QualityBench], *, as_json: bool) -> None:
    """All of them."""
    if as_json:
        jsons.emit({"profiles": [_record(one) for one in found]})
        return
    out = console()
    out.print()
    out.print(_table(found, is_wide=out.width >= WIDE))
    if any(one.emulated for one in found):
        click.echo(EMULATED)


def _table(found: Sequence[QualityBench], *, is_wide: bool) -> Table:
    rows = Table(box=None, pad_edge=False, padding=(0, 1))
    ks = sorted({s.k for one in found if one.found for s in one.found.scores})
    pluses = ["base"] if any(one.found and one.found.base for one in found) else []
    scores = [title for k in ks for title in (f"pass@{k}", "95 %")]
    wide = ["tokens", "tokens/s", "held"] if is_wide else []
    rows.add_column("profile", no_wrap=True)
    for title in (*scores, *pluses, "cut off", "time", *wide):
        rows.add_column(title, justify="right", no_wrap=True)
    for one in found:
        rows.add_row(one.measured, *_cells(one, ks, pluses, is_wide=is_wide))
    return rows


def _cells(
    one: QualityBench, ks: Sequence[int], pluses: Sequence[str], *, is_wide: bool
) -> Iterator[str]:
    quality = one.found
    if quality is None:
        yield "not measured"
        return
    by_k = {score.k: score for score in quality.scores}
    for k in ks:
        score = by_k[k]
        yield _percent(score)
        yield f"{100 * score.low:.1f}-{100 * score.high:.1f}"
    for _ in pluses:
        yield _percent(quality.base[0]) if quality.base else DASH
    yield str(quality.truncated)
    yield duration_text(quality.seconds)
    if is_wide:
        rate, held = quality.decode_tokens_per_s, quality.held_bytes
        yield f"{quality.tokens:,}"
        yield DASH if rate is None else f"{rate:,.1f}"
        yield DASH if held is None else size_text(sum(held))


def _record(found: QualityBench) -> dict[str, Any]:
    header, answers = found.header, found.answers
    told = ("engine", "emulated", "title", "digest", "sampling", "style", "max_tokens")
    return {
        "name": found.name,
        "measured": found.measured,
        "suite": found.suite,
        "reason": found.reason,
        "exit_code": found.exit_code,
        "record": None if found.folder is None else str(found.folder),
        **({} if header is None else {key: header[key] for key in told}),
        **({} if found.found is None else found.found.record()),
        "answers": []
        if answers is None
        else [
            {
                "problem": problem,
                "sample": sample,
                "grade": graded.grade.value,
                "detail": graded.detail,
                "tokens": answers.attempts[problem, sample].tokens,
            }
            for (problem, sample), graded in sorted(answers.graded.items())
        ],
    }


def add(logs: Path, asked: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    """Put a reference on record."""
    one = Reference(**{**asked, "day": asked["day"] or today()})
    path = add_reference(logs, one)
    if as_json:
        jsons.emit({"references": [_reference(one)], "path": str(path)})
    elif not quiet:
        click.echo(f"{_sentence(one)}; {path}")


def references(logs: Path, *, as_json: bool, quiet: bool) -> None:
    """All that are on record."""
    found = read_references(logs)
    if as_json:
        jsons.emit({"references": [_reference(one) for one in found]})
        return
    if not found and not quiet:
        click.echo(f"No reference is on record under {logs}.")
    for one in found:
        click.echo(_sentence(one))


def _sentence(one: Reference) -> str:
    score = f"pass@{one.k} {one.score:g} %"
    return f"{one.name}: {one.suite} {score}, {one.source}, {one.day}"


def _reference(one: Reference) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Reference.__slots__}
