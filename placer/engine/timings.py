"""What a server's log says of each request that ended: its own timings."""

from __future__ import annotations

import re
from dataclasses import dataclass

SLOT = r"^(?:\S+ +\w +)?slot +print_timing: id +(\d+) \| task (\d+) \| +"
PART = re.compile(
    SLOT + r"(prompt eval|eval|total) time = +([\d.]+) ms / +(\d+) (?:tokens|runs)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """One request.

    Attributes:
        prompt_tokens: that were read.
        prompt_s: the time from its beginning to its first token.
        decoded_tokens: that were written.
        decode_s: the time that took.
    """

    prompt_tokens: int
    prompt_s: float
    decoded_tokens: int
    decode_s: float

    @property
    def prompt_tokens_per_s(self) -> float | None:
        """While reading; None where that took no time."""
        return self.prompt_tokens / self.prompt_s if self.prompt_s else None

    @property
    def decoded_tokens_per_s(self) -> float | None:
        """While writing, without the first token, which the prompt's end gives."""
        steps = max(self.decoded_tokens - 1, 0)
        return steps / self.decode_s if self.decode_s else None


class TimingsReader:
    """Timings out of a log's lines, which come three to a request."""

    def __init__(self) -> None:
        self._prompts: dict[tuple[str, str], tuple[int, float]] = {}

    def feed(self, line: str) -> Timings | None:
        """The timings of the request that a line completes; None for others."""
        match = PART.match(line[:300])
        if match is None:
            return None
        slot, task, part, ms, tokens = match.groups()
        seconds, n_tokens = float(ms[:18]) / 1000, int(tokens[:18])
        if part == "prompt eval":
            self._prompts[slot, task] = (n_tokens, seconds)
            return None
        before = self._prompts.pop((slot, task), None) if part == "eval" else None
        if before is None:
            return None
        return Timings(
            prompt_tokens=before[0],
            prompt_s=before[1],
            decoded_tokens=n_tokens,
            decode_s=seconds,
        )
