"""What a bench of quality is to ask, and what it tells of while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine.loadtest import PATIENCE_S
from placer.quality.attempt import Asking

if TYPE_CHECKING:
    from placer.quality.grade import Graded
    from placer.quality.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityOptions:
    """What is asked, how, and how often.

    Attributes:
        suite: its name.
        limit: so many of its problems; None for all.
        only: these of its problems; None for all.
        asking: how each is put.
        samples: answers to each.
        ks: for which pass@k is wanted.
        users: that ask at once, at most one a slot; None for one a slot.
        sandbox: which; ``"auto"`` for the first that works.
        resume: whether the newest bench that asked the same goes on.
        as_is: whether a profile is measured itself where it has a bench variant.
        patience_s: seconds without a sign of loading after which a launch is stalled.
    """

    suite: str = "humaneval"
    limit: int | None = None
    only: tuple[str, ...] | None = None
    asking: Asking = field(default_factory=Asking)
    samples: int = 1
    ks: tuple[int, ...] = (1,)
    users: int | None = None
    sandbox: str = "auto"
    resume: bool = False
    as_is: bool = False
    patience_s: float = PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The devices are taken, and nothing is launched yet.

    Attributes:
        name: the profile.
        suite: the problems.
        total: answers that are wanted.
        known: of them on record already.
        placed: whose placement it is, in words.
        notes: what else is to be known, in sentences.
    """

    name: str
    suite: Suite
    total: int
    known: int
    placed: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One more answer is graded.

    Attributes:
        graded: that one.
        done: answers that are graded, those on record among them.
        total: answers that are wanted.
        passed: of those done.
        truncated: of those done.
        tokens_per_s: that all users together were written, since it began.
        left_s: how much longer it will take.
    """

    graded: Graded
    done: int
    total: int
    passed: int
    truncated: int
    tokens_per_s: float
    left_s: float


Event = Begun | Progress
