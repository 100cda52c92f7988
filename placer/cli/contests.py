"""Contests: who is faster, in a table and in words; and what happens meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.contest import ANSWER, entrant_record
from placer.cli.out import console
from placer.cli.plans import GOALS, number_text
from placer.engine.verdict import verdict_text
from placer.measure import Outcome
from placer.measure.compare import ALIKE, LEAST_ROUNDS, standing_record
from placer.measure.events import DepthMeasured, LaunchEnded, RoundEnded, RoundStarted
from placer.measure.student import CONFIDENCE
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.app.contest import Contest
    from placer.engine.verdict import Verdict
    from placer.measure import Comparison, Margin, Rate, Standing
    from placer.measure.events import Event

STYLES = {ANSWER: "bold green", None: "bold yellow"}
# No confidence is worth more digits than this says.
SURE = 0.9999


def show_contest(found: Contest, *, quiet: bool) -> None:
    """The table of rates, and the answer in words as its last line."""
    words = answer_text(found)
    if quiet:
        click.echo(words)
        return
    out = console()
    wrap = not out.is_terminal
    if found.standing.figures:
        out.print(_table(found.standing))
    for line in _notes(found):
        out.print(Text(line, "dim"), soft_wrap=wrap)
    style = STYLES.get(found.standing.winner, "bold red")
    out.print(Text(words, style), soft_wrap=wrap)


def _table(found: Standing) -> Table:
    """A row a contender and depth."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("tokens/s", no_wrap=True)
    for name in ("in the cache", "read/s", "written/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure in sorted(found.figures, key=lambda figure: figure.depth):
        table.add_row(
            figure.contender,
            f"{figure.depth:,}",
            rate_text(figure.prefill),
            rate_text(figure.decode),
        )
    return table


def rate_text(rate: Rate) -> str:
    """``22.5 ± 0.4``; the figure alone where one launch says no more."""
    text = number_text(rate.tokens_per_s)
    if rate.half_width is None:
        return text
    half = rate.half_width * rate.tokens_per_s
    return f"{text} ± {half:,.{0 if rate.tokens_per_s >= 100 else 1}f}"


def _notes(found: Contest) -> Iterator[str]:
    standing = found.standing
    for entrant in found.entrants:
        if entrant.absent is not None:
            yield f"{entrant.name} was not launched: {entrant.absent}."
        elif entrant.name in standing.failed:
            failed = standing.failed[entrant.name]
            yield f"{entrant.name} did not run: {verdict_text(failed)}."
        elif entrant.contender.fit_margins_bytes is not None:
            margins = entrant.contender.fit_margins_bytes
            text = ", ".join(f"{mib(n):,.0f}" for n in margins)
            yield f"{entrant.name} was told to leave {text} MiB free."
    for one in standing.comparisons:
        yield f"placer beside {one.rival}: {_beside_text(one)}."
    rounds = "1 round" if standing.rounds == 1 else f"{standing.rounds} rounds"
    yield (
        f"{rounds} in {found.seconds:.0f} s, each a launch of everyone in random "
        f"order; decided by {GOALS[found.goal.value]}."
    )


def _beside_text(one: Comparison) -> str:
    """Of one rival: ``4.1 to 8.9 % faster, confidence 99.2 %``."""
    if one.outcome in (Outcome.FASTER, Outcome.SLOWER):
        return f"{_by_text(one)} {one.outcome.value}, {_sure_text(one)}"
    said = "no difference seen" if one.outcome is Outcome.ALIKE else "not clear yet"
    return f"{said}, {_between_text(one.margin)}"


def answer_text(found: Contest) -> str:
    """Who is faster, in one sentence; that nobody is seen to be is an answer too."""
    standing = found.standing
    if standing.answer in standing.failed:
        return f"placer's answer did not run: {_failed_text(found, standing.answer)}."
    one = standing.decisive
    if one is None:
        return _uncompared_text(found)
    if one.outcome is Outcome.FASTER:
        return (
            f"placer wins: {_by_text(one)} faster than {one.rival}, {_sure_text(one)}."
        )
    if one.outcome is Outcome.SLOWER:
        return (
            f"{one.rival} wins: placer's answer is {_by_text(one)} slower, "
            f"{_sure_text(one)}."
        )
    text = f"No difference seen between placer's answer and {one.rival}: "
    text += _between_text(one.margin)
    if one.outcome is Outcome.ALIKE:
        return f"{text}, confidence {CONFIDENCE:.0%}.".replace("%.", " %.")
    return f"{text}; not clear yet."


def _uncompared_text(found: Contest) -> str:
    """Why nobody was compared with anybody."""
    standing = found.standing
    rivals = [entrant for entrant in found.entrants if entrant.name != standing.answer]
    if all(e.absent is not None or e.name in standing.failed for e in rivals):
        whys = [f"{e.name}: {e.absent or _failed_text(found, e.name)}" for e in rivals]
        return f"placer's answer alone was measured. {'; '.join(whys)}."
    if not standing.depths:
        return "Nobody was measured: the budget is too short for one launch."
    return (
        f"Not compared: {LEAST_ROUNDS} rounds are the least, and the budget was spent "
        f"after {standing.rounds}."
    )


def _failed_text(found: Contest, name: str) -> str:
    verdict: Verdict = found.standing.failed[name]
    return verdict_text(verdict)


def _by_text(one: Comparison) -> str:
    """``4.1 to 8.9 %``, the smaller first."""
    ends = sorted(abs(x) * 100 for x in (one.margin.low, one.margin.high))
    return f"{_percent(ends[0])} to {_percent(ends[1])} %"


def _between_text(margin: Margin) -> str:
    """``within 1.4 %`` where that is little, else from where to where it may be."""
    if margin.widest <= ALIKE:
        return f"within ±{_percent(margin.widest * 100)} %"
    slower, faster = -margin.low * 100, margin.high * 100
    return f"from {_percent(slower)} % slower to {_percent(faster)} % faster"


def _percent(x: float) -> str:
    return f"{x:.1f}" if x < 10 else f"{x:,.0f}"


def _sure_text(one: Comparison) -> str:
    if one.confidence > SURE:
        return f"confidence over {SURE:.2%}".replace("%", " %")
    return f"confidence {one.confidence:.1%}".replace("%", " %")


def contest_record(found: Contest) -> dict[str, Any]:
    """A contest as ``--json`` prints it."""
    return {
        "goal": found.goal.value,
        "answer": answer_text(found),
        "contenders": [entrant_record(entrant) for entrant in found.entrants],
        **standing_record(found.standing),
        "seconds": round(found.seconds, 1),
    }


def progress_text(event: Event) -> str | None:
    """What an event leaves on the screen, in one line; None for nothing."""
    if isinstance(event, RoundStarted):
        order = ", ".join(contender.name for contender in event.order)
        return f"Round {event.number}: {order}"
    if isinstance(event, DepthMeasured):
        n = len(event.timings)
        read = sum(t.prefill_tokens_per_s for t in event.timings) / n
        written = sum(t.decode_tokens_per_s for t in event.timings) / n
        return (
            f"  {event.turn.contender.name}, {event.depth:,} in the cache: "
            f"{number_text(read)} read/s, {number_text(written)} written/s"
        )
    if isinstance(event, LaunchEnded):
        verdict = event.measurement.verdict
        name = event.measurement.turn.contender.name
        return None if verdict is None else f"  {name}: {verdict_text(verdict)}"
    return _standing_text(event)


def _standing_text(event: RoundEnded) -> str | None:
    found = event.standing.comparisons
    if not found:
        return None
    parts = [f"{one.rival} {_beside_text(one)}" for one in found]
    return f"  placer beside {'; '.join(parts)}"
