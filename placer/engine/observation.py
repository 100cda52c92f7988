"""What was seen of one launch: facts, no judgement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.engine.client import Completion
    from placer.engine.log import LogFacts


class Stage(IntEnum):
    """How far a launch came; a launch that is only to prompt ends at PROMPTED."""

    STARTED = 0
    LOADED = 1
    PROMPTED = 2
    FILLED = 3
    REFILLED = 4
    DECODED = 5

    @property
    def title(self) -> str:
        """What it says to a person."""
        return {
            Stage.STARTED: "loading",
            Stage.LOADED: "filling the context",
            Stage.PROMPTED: "prompts answered",
            Stage.FILLED: "filling it again",
            Stage.REFILLED: "decoding",
            Stage.DECODED: "done",
        }[self]


class Proof(IntEnum):
    """How far a launch is taken before it counts as seen to fit."""

    LOAD = Stage.LOADED
    PROMPT = Stage.PROMPTED
    FULL = Stage.DECODED


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The facts of one launch.

    Attributes:
        stage: how far it came.
        exit_code: of an engine that ended by itself; None where placer ended it.
        stalled: whether nothing moved for the whole patience.
        answer_error: what a request was answered instead of tokens.
        facts: of its log.
        free_bytes: of each device before the launch.
        free_after_bytes: of each device after its end; None where nobody says.
        peak_bytes: most that the process held of each device, None where not seen.
        others_bytes: most that other processes held of each device meanwhile, beyond
            what they held when it began; None where not seen.
        image_tokens: of context that an image took; 0 where none is understood.
        prompt_tokens: tokens of context that were filled, all slots together.
        prompt_tokens_per_s: while filling, all slots together.
        single: one slot alone: a full ubatch read, then decoded.
        load_s: seconds until the model was loaded.
        total_s: seconds of the whole launch.
    """

    stage: Stage
    exit_code: int | None
    stalled: bool
    answer_error: str | None
    facts: LogFacts
    free_bytes: tuple[int, ...]
    free_after_bytes: tuple[int, ...] | None = None
    peak_bytes: tuple[int, ...] | None = None
    others_bytes: tuple[int, ...] | None = None
    image_tokens: int = 0
    prompt_tokens: int = 0
    prompt_tokens_per_s: float | None = None
    single: Completion | None = None
    load_s: float | None = None
    total_s: float = 0.0
