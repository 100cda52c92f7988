"""A search's answer against its rivals: whoever is faster, and fits, is the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.app.contest import Answer, Contest, ContestOptions, contest
from placer.engine.judge import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.app.study import Setting
    from placer.measure.events import Event as MeasureEvent
    from placer.search.events import Event
    from placer.search.search import Found, Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a search found, and what it was measured beside.

    Attributes:
        found: the answer: the rival that was faster, where it was seen to fit too.
        contest: who was measured, and how fast.
    """

    found: Found
    contest: Contest


def measured(
    search: Search,
    found: Found,
    setting: Setting,
    budget_s: float,
    on_event: Callable[[Event | MeasureEvent], None],
) -> Measured:
    """Measure the answer beside ``--fit`` and one GPU, and take the faster placement.

    A rival has to pass the same load test before it is taken; no other is better by
    the speed model then, but one was by the clock.
    """
    trial = found.trial
    held = contest(
        setting.desk,
        Answer(
            args=trial.probe.args,
            placement=trial.probe.placement,
            prompt_tokens_per_s=trial.observation.prompt_tokens_per_s,
        ),
        ContestOptions(
            goal=setting.options.goal,
            budget_s=budget_s,
            margins_bytes=setting.planner.margins_bytes,
            patience_s=setting.options.patience_s,
        ),
        search.journal,
        on_event,
    )
    winner = next((e for e in held.entrants if e.name == held.standing.winner), None)
    placement = None if winner is None else winner.placement
    if winner is None or placement is None or placement == trial.probe.placement:
        return Measured(found=found, contest=held)
    proof = search.launch(placement, f"{winner.name} was faster: its proof")
    found = replace(found, trials=tuple(search.trials))
    if proof.verdict.outcome is Outcome.FITS:
        search.best = proof
        found = replace(found, trial=proof)
    return Measured(found=found, contest=held)
