"""What a bench of speed asks: which batches, how deep, how many users, how often."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from placer.engine.loadtest import PATIENCE_S
from placer.errors import InputError
from placer.experiment.design import Factor, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.target import Target

# What is written where nobody says, as by llama-bench.
N_GEN = 128
# Parts of a slot, of which a prompt takes one at most where nobody says.
SLOT_PARTS = 4
# The token that a user goes on with, and the end of a slot, where it stops.
SPARE_TOKENS = 3
# Without it the engine copies the slots of users who wait into the host's memory when
# another asks, and takes them out of a cache that all share.
NO_CACHE_RAM = ("-cram", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedOptions:
    """What is asked of a profile; what is empty is as the profile has it.

    Attributes:
        depths: tokens in the cache before a prompt; none, half and all that a slot
            holds where nobody says.
        batches: ``-b``, each of them a launch.
        ubatches: ``-ub``, likewise.
        users: who ask at once.
        repeats: launches of each batch.
        seed: of their order.
        n_prompt: tokens of a prompt; a batch where nobody says.
        n_gen: tokens that are written.
        patience_s: seconds without a sign after which a launch is stalled.
        resume: whether the newest bench that was broken off goes on.
    """

    depths: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    ubatches: tuple[int, ...] = ()
    users: tuple[int, ...] = (1,)
    repeats: int = 3
    seed: int = 1
    n_prompt: int | None = None
    n_gen: int = N_GEN
    patience_s: float = PATIENCE_S
    resume: bool = False


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Settings:
    """What the server is launched with: ``-b`` and ``-ub``."""

    batch: int
    ubatch: int

    @property
    def text(self) -> str:
        """As flags."""
        return f"-b {self.batch} -ub {self.ubatch}"

    def record(self) -> dict[str, int]:
        """For the journal."""
        return {"batch": self.batch, "ubatch": self.ubatch}


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Cell:
    """What a running server is asked: users at once, each at a depth."""

    depth: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of the server; numbers and repeats count from 1."""

    number: int
    repeat: int
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All that is asked of one profile; see :class:`SpeedOptions`."""

    depths: tuple[int, ...]
    batches: tuple[int, ...]
    ubatches: tuple[int, ...]
    users: tuple[int, ...]
    repeats: int
    seed: int
    n_prompt: int
    n_gen: int

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Of each launch, in the order in which they are asked: ever deeper."""
        return tuple(
            Cell(depth=depth, users=users)
            for depth in sorted(set(self.depths))
            for users in sorted(set(self.users))
        )

    @property
    def launches(self) -> tuple[Launch, ...]:
        """In the order in which they are made: the same for the same seed."""
        factors = [_factor("batch", self.batches), _factor("ubatch", self.ubatches)]
        random = Random(self.seed)  # noqa: S311 - an order, no secret
        planned = schedule(factors, self.repeats, random)
        return tuple(
            Launch(
                number=one.number,
                repeat=one.turns[0].repeat,
                settings=Settings(**{k: int(v) for k, v in one.settings.items()}),
            )
            for one in planned
        )

    def record(self) -> dict[str, Any]:
        """What tells this question from others."""
        return {
            "depths": list(self.depths),
            "batches": list(self.batches),
            "ubatches": list(self.ubatches),
            "users": list(self.users),
            "repeats": self.repeats,
            "seed": self.seed,
            "n_prompt": self.n_prompt,
            "n_gen": self.n_gen,
        }


def _factor(name: str, values: Sequence[int]) -> Factor:
    texts = tuple(str(value) for value in dict.fromkeys(values))
    return Factor(name=name, values=texts, base=texts[0], restarts=True)


def server_flags(target: Target, options: SpeedOptions) -> tuple[str, ...]:
    """Flags behind the profile's own: a slot for each user, and nothing copied."""
    most = max(options.users)
    slots = ("-np", str(most)) if most > target.workload.parallel else ()
    return (*slots, *NO_CACHE_RAM)


def question_of(target: Target, options: SpeedOptions) -> Question:
    """What is asked of a target that has a slot for each user.

    Raises:
        InputError: its context is too short for that.
    """
    work = target.workload
    batches = options.batches or (work.batch,)
    room = _room(target, max(options.users))
    n_prompt = options.n_prompt or max(1, min(max(batches), room // SLOT_PARTS))
    beside = n_prompt + options.n_gen + SPARE_TOKENS
    deepest = max((*options.depths, 0))
    if deepest + beside > room:
        raise _too_short(target, max(options.users), deepest, beside)
    end = room - beside
    return Question(
        depths=options.depths or tuple(sorted({0, end // 2, end})),
        batches=batches,
        ubatches=options.ubatches or (work.ubatch,),
        users=options.users,
        repeats=options.repeats,
        seed=options.seed,
        n_prompt=n_prompt,
        n_gen=options.n_gen,
    )


def _room(target: Target, users: int) -> int:
    """Tokens that each of so many users may have in a slot."""
    held = target.workload.slot_ctx
    if target.workload.kv_unified:
        held //= users
    return min(held, target.shape.context_length or held)


def _too_short(target: Target, users: int, depth: int, beside: int) -> InputError:
    work, trained = target.workload, target.shape.context_length
    each = depth + beside
    asked = f"a prompt and an answer of {beside:,} tokens at a depth of {depth:,}"
    if trained and each > trained:
        return InputError(
            f"{asked} are beyond the {trained:,} that the model was trained for",
            hint="give less --depth, -p or -n",
        )
    slots = users if work.kv_unified else work.parallel
    who = "1 user" if users == 1 else f"{users} users"
    return InputError(
        f"{asked} need -c {each * slots:,} for {who} in {work.parallel} slots, "
        f"[{target.name}] has {work.ctx:,}",
        hint="give less --depth, --users, -p or -n, or the profile more CTX_SIZE",
    )
