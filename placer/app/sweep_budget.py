"""A grid that is too large: cells are proposed, and the best is held to the base."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.sweep_records import joined, key_of
from placer.app.sweep_result import base_of
from placer.experiment.cells import figure_of
from placer.experiment.design import Turn, grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    import optuna

    from placer.app.sweep_running import Sweeping
    from placer.experiment.design import Cell, Factor
    from placer.experiment.measures import Measure
    from placer.tune.budget import Purse

# The repeat of what is only proposed: it counts for no verdict.
PROPOSED = 0
# Proposals of what is known already before a cell is drawn that is not.
KNOWN = 8


@dataclass(kw_only=True)
class Proposing:
    """Cells are proposed by one measure, as far as a budget goes.

    Attributes:
        sweeping: measures them.
        factors: what is varied.
        lead: the measure that counts.
        repeats: how often the best and the base are measured again.
        purse: pays for runs, those of the comparison among them.
        random: draws what is not proposed, and the order of the comparison.
        seed: of the proposals.
    """

    sweeping: Sweeping
    factors: Sequence[Factor]
    lead: Measure
    repeats: int
    purse: Purse
    random: Random
    seed: int

    @property
    def base(self) -> Cell:
        """What the best is held to."""
        return base_of(self.factors)

    def run(self) -> Cell | None:
        """Propose and measure, then hold the best to the base; it, if there is one."""
        self._try(self._proposals())
        proposed = self._best()
        if proposed is not None:
            self._compare(list(self._comparison(proposed)))
        return proposed

    def _compare(self, turns: Sequence[Turn]) -> None:
        """A start each, or two repeats would share one; one for all if it is theirs."""
        settings = [self._settings(turn.cell) for turn in turns]
        if all(one == settings[0] for one in settings):
            if turns:
                self.sweeping.launch(settings[0], turns)
            return
        for one, turn in zip(settings, turns, strict=True):
            self.sweeping.launch(one, [turn])

    def _try(self, turns: Iterator[Turn]) -> None:
        """One start for as long as the settings of the server stay."""
        waiting = next(turns, None)
        while waiting is not None:
            settings, first = self._settings(waiting.cell), waiting
            waiting = None

            def alike() -> Iterator[Turn]:
                nonlocal waiting
                yield first  # noqa: B023 - used up within this round
                for turn in turns:
                    if self._settings(turn.cell) != settings:  # noqa: B023 - likewise
                        waiting = turn
                        return
                    yield turn

            self.sweeping.launch(settings, alike())
            if waiting is None:
                waiting = next(turns, None)

    def _settings(self, cell: Cell) -> Cell:
        return {f.name: cell[f.name] for f in self.factors if f.restarts}

    def _proposals(self) -> Iterator[Turn]:
        """The base first; each is told how it went before the next is proposed.

        None where the comparison had begun when the sweep was broken off.
        """
        if any(run.repeat for run in self.sweeping.past.runs):
            return
        study = self._study()
        if not self._is_known(self.base):
            study.enqueue_trial(dict(self.base))
        while self.purse.allows(1 + 2 * self.repeats):
            cell, trial = self._next(study)
            if cell is None:
                return
            began_s = time.monotonic()
            yield Turn(repeat=PROPOSED, cell=cell)
            self.purse.spend(time.monotonic() - began_s)
            self._tell(study, trial, cell)

    def _next(self, study: optuna.Study) -> tuple[Cell | None, optuna.Trial | None]:
        """What is neither known nor hopeless; drawn where nothing new is proposed."""
        distributions = _distributions(self.factors)
        for _ in range(KNOWN):
            trial = study.ask(distributions)
            cell = {f.name: str(trial.params[f.name]) for f in self.factors}
            if not self._is_known(cell):
                return cell, trial
            self._tell(study, trial, cell)
        left = [cell for cell in grid(self.factors) if not self._is_known(cell)]
        if not left:
            return None, None
        cell = dict(self.random.choice(left))
        study.enqueue_trial(cell)
        return cell, study.ask(distributions)

    def _is_known(self, cell: Cell) -> bool:
        return self.sweeping.past.has(Turn(repeat=PROPOSED, cell=cell))

    def _tell(
        self, study: optuna.Study, trial: optuna.Trial | None, cell: Cell
    ) -> None:
        from optuna.trial import TrialState

        if trial is None:
            return
        value = self._value(cell)
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, value)

    def _value(self, cell: Cell) -> float | None:
        past = self.sweeping.past
        runs = [
            run
            for run in joined(past, self._settings(self.base))
            if run.repeat == PROPOSED and run.cell == cell
        ]
        found = figure_of(runs, self.lead)
        return None if found is None else found.mean

    def _study(self) -> optuna.Study:
        """In memory: what was measured is on record, and told to it again."""
        import optuna
        from optuna.trial import create_trial

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=self.seed, multivariate=True)
        directions = optuna.study.StudyDirection
        way = directions.MINIMIZE
        if self.lead.higher_is_better:
            way = directions.MAXIMIZE
        study = optuna.create_study(sampler=sampler, direction=way)
        for cell in self._proposed():
            value = self._value(cell)
            if value is not None:
                study.add_trial(
                    create_trial(
                        params=dict(cell),
                        distributions=_distributions(self.factors),
                        value=value,
                    )
                )
        return study

    def _proposed(self) -> list[Cell]:
        runs = self.sweeping.past.runs
        return [run.cell for run in runs if run.repeat == PROPOSED]

    def _best(self) -> Cell | None:
        """The best that was measured; None where that is the base, or it has none."""
        measured = {key_of(cell): cell for cell in self._proposed()}
        values = {key: self._value(cell) for key, cell in measured.items()}
        known = {key: value for key, value in values.items() if value is not None}
        if key_of(self.base) not in known:
            return None
        pick = max if self.lead.higher_is_better else min
        found = pick(known, key=lambda key: known[key])
        return None if found == key_of(self.base) else measured[found]

    def _comparison(self, proposed: Cell) -> Iterator[Turn]:
        """Both in every repeat, in random order."""
        pair = [self.base, proposed]
        for repeat in range(1, self.repeats + 1):
            for cell in self.random.sample(pair, k=2):
                turn = Turn(repeat=repeat, cell=cell)
                if not self.sweeping.past.has(turn):
                    yield turn


def _distributions(factors: Sequence[Factor]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution

    return {f.name: CategoricalDistribution(f.values) for f in factors}
