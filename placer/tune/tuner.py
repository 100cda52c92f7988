"""Ask, plan, dry run, launch, tell; then the best against the start, once more."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from placer.errors import SearchError
from placer.tune.knobs import changes_of, costs_quality
from placer.tune.space import key_of
from placer.tune.tried import LEAST_GAIN, Came, Compared, Pace, Tried, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.engine.loadtest import LoadProgress
    from placer.plan import Goal
    from placer.tune.budget import Purse
    from placer.tune.knobs import Settings
    from placer.tune.store import Asked, Store

# The best and the start are measured so often again, in turns.
PAIRS = 2
# So many are tried before anything is kept back for that.
LEAST_TRIED = 3
# Settings in a row that no launch was worth: the rest will not fit either.
MOST_IN_VAIN = 32


class Answer(Enum):
    """What tuning ended with."""

    BETTER = "better"
    NO_DIFFERENCE = "no-difference"
    START_IS_BEST = "start-is-best"
    ONLY = "only"
    NOT_CONFIRMED = "not-confirmed"
    FAILS_AGAIN = "fails-again"

    @property
    def is_worth_writing(self) -> bool:
        """Whether the best is known to be better than what there was."""
        return self in (Answer.BETTER, Answer.ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """Settings are on their way: planned, asked of the dry run, launched."""

    name: str
    settings: Settings
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The launch under way."""

    progress: LoadProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Something was tried.

    Attributes:
        tried: what became of it.
        is_best: whether it is the best so far that may be chosen.
        purpose: why it was tried.
    """

    tried: Tried
    is_best: bool
    purpose: str


Event = Launching | Progress | Done


class Bench(Protocol):
    """Where settings are tried."""

    def trial(
        self,
        settings: Settings,
        name: str,
        on_progress: Callable[[LoadProgress], None],
    ) -> Tried:
        """Plan, dry run, launch.

        Args:
            settings: a value for every knob.
            name: of the log.
            on_progress: told how the launch gets on.

        Raises:
            PlacerError: nothing can be tried any more.
        """

    def require_devices(self) -> None:
        """Check that the devices are still there.

        Raises:
            MachineError: one of them is gone; what failed meanwhile says nothing.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What tuning found.

    Attributes:
        answer: in a word.
        start: where it started; None where that does not fit.
        best: the fastest that may be chosen.
        costly: what is faster still and costs quality; None where nothing is.
        tried: everything, in order.
        compared: the best against the start, measured again; None where it was not.
        why: there is no clear answer, in words; empty where there is.
        stopped: why no more was tried.
    """

    answer: Answer
    start: Tried | None
    best: Tried
    costly: Tried | None
    tried: tuple[Tried, ...]
    compared: Compared | None
    why: str
    stopped: str

    @property
    def chosen(self) -> Tried:
        """What to use: the best, unless the start is as good or runs more surely."""
        is_doubtful = self.answer in (Answer.NO_DIFFERENCE, Answer.FAILS_AGAIN)
        return self.start if is_doubtful and self.start is not None else self.best


@dataclass(kw_only=True)
class Tuner:
    """One run over a study that may have been begun before.

    Attributes:
        store: the study.
        bench: tries settings.
        goal: what counts.
        purse: what may be spent.
        kept_back: launches that somebody else needs afterwards.
        accept_loss: whether what costs quality may be chosen.
        on_event: told of all that happens.
    """

    store: Store
    bench: Bench
    goal: Goal
    purse: Purse
    kept_back: int = 0
    accept_loss: bool = False
    on_event: Callable[[Event], None]
    measured_again: list[Tried] = field(default_factory=list)

    def run(self) -> Result:
        """Try until the budget is spent or nothing is left.

        Raises:
            SearchError: nothing was seen to fit.
            PlacerError: the start fails in a way that has nothing to do with memory.
        """
        stopped = self._tune()
        best = self.best()
        if best is None:
            tried = self.store.tried()
            last = tried[-1].why if tried else "nothing was tried"
            raise SearchError(
                f"nothing of what was tried fits: {last}",
                hint="lower --ctx, or vary more: a smaller ub, ctk=q8_0",
            )
        answer, compared, why = self._answer(best)
        return Result(
            answer=answer,
            start=self.start(),
            best=best,
            costly=self._costly(best),
            tried=self.store.tried(),
            compared=compared,
            why=why,
            stopped=stopped,
        )

    def _tune(self) -> str:
        """Until something stops it; what that was."""
        in_vain = 0
        while self._may_go_on():
            asked = self.store.ask()
            if asked is None:
                return "everything was tried"
            launched = self.purse.launched
            self._try(asked)
            in_vain = 0 if self.purse.launched > launched else in_vain + 1
            if in_vain == MOST_IN_VAIN:
                return f"the last {in_vain} settings do not fit"
        return "the budget is spent"

    def _may_go_on(self) -> bool:
        reserve = 2 * PAIRS + self.kept_back
        is_early = self.purse.launched < LEAST_TRIED
        return self.purse.allows(1 if is_early else 1 + reserve)

    def _try(self, asked: Asked) -> None:
        before, key = self.best(), key_of(asked.settings)
        try:
            tried = self._launched(asked.settings, asked.name, "tuning")
        except BaseException:
            self.store.interrupted(asked)
            raise
        self.store.tell(asked, tried, self._cost(tried))
        now = self.best()
        is_best = now is not None and (
            before is None or key_of(now.settings) != key_of(before.settings)
        )
        known = next(t for t in self.store.tried() if key_of(t.settings) == key)
        self.on_event(Done(tried=known, is_best=is_best, purpose="tuning"))
        self._require_sound(tried)

    def _launched(self, settings: Settings, name: str, purpose: str) -> Tried:
        self.on_event(Launching(name=name, settings=settings, purpose=purpose))

        def show(progress: LoadProgress) -> None:
            self.on_event(Progress(progress=progress))

        return self.bench.trial(settings, name, show)

    def _require_sound(self, tried: Tried) -> None:
        """What stops the start would stop everything, unless it is memory.

        And what takes a device with it, too.
        """
        if tried.came is Came.FAILED:
            self.bench.require_devices()
        is_start = key_of(tried.settings) == key_of(self.store.space.start)
        if is_start and tried.came in (Came.FAILED, Came.REFUSED):
            raise SearchError(
                f"the settings to start from fail: {tried.why}",
                hint="see that placer verify or placer optimize works first",
            )

    def _cost(self, tried: Tried) -> float | None:
        return None if tried.pace is None else tried.pace.cost(self.goal.worth)

    def start(self) -> Tried | None:
        """Where it started, if that was measured."""
        return self._of(self.store.space.start)

    def _of(self, settings: Settings) -> Tried | None:
        key = key_of(settings)
        return next((t for t in self._ranked() if key_of(t.settings) == key), None)

    def best(self) -> Tried | None:
        """The best so far that may be chosen."""
        start = self.store.space.start
        return self._best_of(
            [
                tried
                for tried in self._ranked()
                if self.accept_loss or not costs_quality(tried.settings, start)
            ]
        )

    def _best_of(self, ranked: list[Tried]) -> Tried | None:
        """The fastest, or of those that are hardly slower what changes least."""
        start = self.store.space.start
        costs = [self._cost(tried) or 0.0 for tried in ranked]
        alike = [
            tried
            for tried, cost in zip(ranked, costs, strict=True)
            if cost <= costs[0] * (1 + LEAST_GAIN)
        ]
        return min(
            alike,
            key=lambda tried: len(changes_of(tried.settings, start)),
            default=None,
        )

    def _costly(self, best: Tried) -> Tried | None:
        """What is faster than what may be chosen, and worth a word."""
        first = self._best_of(self._ranked())
        return None if first is None or first.number == best.number else first

    def _ranked(self) -> list[Tried]:
        """Those that were measured, the fastest first."""
        found = [(t, self._cost(t)) for t in self.store.tried()]
        measured = [(cost, t.number, t) for t, cost in found if cost is not None]
        return [tried for _, _, tried in sorted(measured, key=lambda one: one[:2])]

    def _answer(self, best: Tried) -> tuple[Answer, Compared | None, str]:
        """Whether the best is better than the start, by measuring both again."""
        start = self.start()
        if start is None:
            return Answer.ONLY, None, "the settings to start from do not fit"
        if start.number == best.number:
            return Answer.START_IS_BEST, None, ""
        if not self.purse.allows(2 * PAIRS):
            why = f"{2 * PAIRS} launches more are not in the budget"
            return Answer.NOT_CONFIRMED, None, why
        paces: dict[int, list[Pace]] = {start.number: [], best.number: []}
        for turn in range(PAIRS):
            # In turns, so that a machine that warms up favours neither.
            for tried in (start, best) if turn % 2 == 0 else (best, start):
                again = self._again(tried, len(self.measured_again) + 1)
                if again.pace is None:
                    return Answer.FAILS_AGAIN, None, again.why
                paces[tried.number].append(again.pace)
        if start.pace is None or best.pace is None:
            raise AssertionError("only what was measured is compared")
        found = compare(
            paces[start.number],
            paces[best.number],
            (start.pace, best.pace),
            self.goal.worth,
        )
        answer = Answer.BETTER if found.is_better else Answer.NO_DIFFERENCE
        return answer, found, ""

    def _again(self, tried: Tried, number: int) -> Tried:
        """The same once more, for the comparison."""
        is_start = key_of(tried.settings) == key_of(self.store.space.start)
        purpose = "the start again" if is_start else "the best again"
        again = self._launched(tried.settings, f"again-{number}", purpose)
        cost = self._cost(again)
        if cost is not None:
            self.store.add(again, cost)
        self.measured_again.append(again)
        self.on_event(Done(tried=again, is_best=False, purpose=purpose))
        return again
