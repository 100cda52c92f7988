"""Users who ask a server at once, each in a slot of its own, and how fast it was.

A slot reads the tokens of a depth first and keeps them. Then all users ask together:
each for a prompt that nobody has read before, with one token as the answer, which
measures reading; then each goes on behind that, which measures writing. Nothing is
ever taken back out of a cache in between, which recurrent models could not do.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from placer.app.speed_question import Cell
from placer.engine.client import ServerAnswerError
from placer.engine.prompts import prompt_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.app.speed_question import Question
    from placer.engine.client import Completion, ServerClient
    from placer.engine.meter import Lap, Meter

# Written once before anything is counted: kernels are compiled, pages touched.
WARM_UP_TOKENS = 4
Prompts = tuple[list[int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One user's answer as it came; all times by one clock.

    Attributes:
        began_s: when it was asked for.
        ended_s: when it was whole.
        marks: when how many of its tokens were there.
        done: what the server says of it.
    """

    began_s: float
    ended_s: float
    marks: tuple[tuple[float, int], ...]
    done: Completion

    @property
    def first_s(self) -> float:
        """When the first token was there."""
        return self.marks[0][0] if self.marks else self.ended_s

    @property
    def last_s(self) -> float:
        """When the last token was there."""
        return self.marks[-1][0] if self.marks else self.ended_s

    def written_at(self, when_s: float) -> float:
        """Tokens that were there at a time, parts of one too."""
        at = bisect_right(self.marks, when_s, key=lambda mark: mark[0])
        if at == 0:
            return 0.0
        since, n = self.marks[at - 1]
        if at == len(self.marks):
            return n
        until, more = self.marks[at]
        return n + (more - n) * (when_s - since) / (until - since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a launch showed in one cell; None for what nobody says.

    Attributes:
        prefill_tokens_per_s: that were read, of all users together.
        decode_tokens_per_s: that were written while all users had something written;
            None where there was no such time.
        user_decode_tokens_per_s: that one user got, on average.
        ttft_s: until a user's first token, on average.
        held_bytes: the most that the server held of each device so far.
        used_bytes: the most that all processes held of each device meanwhile.
        watts: that each device drew while it wrote.
        joules: that all devices drew while it wrote.
        tokens_per_joule: that were written.
    """

    prefill_tokens_per_s: float
    decode_tokens_per_s: float | None
    user_decode_tokens_per_s: float
    ttft_s: float
    held_bytes: tuple[int, ...] | None = None
    used_bytes: tuple[int | None, ...] = ()
    watts: tuple[float | None, ...] = ()
    joules: float | None = None
    tokens_per_joule: float | None = None


def pace_of(
    read: Sequence[Heard], written: Sequence[Heard], reading: Lap, writing: Lap
) -> Pace:
    """The figures of a cell.

    Args:
        read: of each user, one token behind a prompt.
        written: of each user, what came behind that.
        reading: what the devices did while the prompts were read.
        writing: likewise, of what was written.
    """
    tokens = sum(one.done.decoded_tokens for one in written)
    joules = writing.joules
    return Pace(
        prefill_tokens_per_s=_read_per_s(read),
        decode_tokens_per_s=_written_per_s(written),
        user_decode_tokens_per_s=fmean(
            one.done.decoded_tokens_per_s for one in written
        ),
        ttft_s=fmean(one.first_s - one.began_s for one in read),
        held_bytes=writing.held_bytes,
        used_bytes=tuple(
            max((used for used in one if used is not None), default=None)
            for one in zip(reading.used_bytes, writing.used_bytes, strict=True)
        ),
        watts=writing.watts,
        joules=joules,
        tokens_per_joule=tokens / joules if joules else None,
    )


def _read_per_s(read: Sequence[Heard]) -> float:
    """Tokens a second until all have their first token; of one by the server's clock.

    A single request takes a little longer for who asks, which is not reading.
    """
    if len(read) == 1:
        return read[0].done.prompt_tokens_per_s
    end_s = max(one.first_s for one in read)
    seconds = end_s - min(one.began_s for one in read)
    return sum(one.done.prompt_tokens for one in read) / seconds


def _written_per_s(written: Sequence[Heard]) -> float | None:
    """Tokens a second while all write; of one by the server's clock."""
    if len(written) == 1:
        return written[0].done.decoded_tokens_per_s
    start_s = max(one.first_s for one in written)
    end_s = min(one.last_s for one in written)
    if end_s <= start_s:
        return None
    tokens = sum(one.written_at(end_s) - one.written_at(start_s) for one in written)
    return tokens / (end_s - start_s)


@dataclass(slots=True, kw_only=True)
class Users:
    """Whoever asks one server.

    Attributes:
        client: the server.
        question: for the length of prompts and answers.
        n_vocab: of its model.
    """

    client: ServerClient
    question: Question
    n_vocab: int
    _n_prompts: int = field(default=0, init=False)

    def warm_up(self) -> None:
        """Everything that will be asked, once, and shorter.

        Raises:
            ServerAnswerError: anything but full answers.
        """
        users = max(self.question.users)
        for n in sorted({1, users}):
            prompts = self._prompts(Cell(depth=0, users=n))
            self._ask(prompts, WARM_UP_TOKENS)

    def measure(self, cell: Cell, meter: Meter) -> Pace:
        """One cell: to the depth, then read, then write.

        Raises:
            ServerAnswerError: anything but full answers.
        """
        for user in range(cell.users if cell.depth else 0):
            prompt = prompt_of(cell.depth, self.n_vocab, user)
            self.client.complete(prompt, 1, lambda _: None, slot=user)
        prompts = self._prompts(cell)
        meter.lap()
        read = self._ask(prompts, 1)
        reading = meter.lap()
        further = tuple([*prompt, *prompt_of(1, self.n_vocab, 0)] for prompt in prompts)
        written = self._ask(further, self.question.n_gen)
        writing = meter.lap()
        rates = [one.done.prompt_tokens_per_s for one in read]
        rates += [one.done.decoded_tokens_per_s for one in written]
        if min(rates) <= 0:
            raise ServerAnswerError("the answer has no timings")
        return pace_of(read, written, reading, writing)

    def _prompts(self, cell: Cell) -> Prompts:
        """A prompt for each user; what it says beyond the depth nobody has read."""
        found = []
        for user in range(cell.users):
            self._n_prompts += 1
            seed = max(self.question.users) + self._n_prompts
            known = prompt_of(cell.depth, self.n_vocab, user)
            found.append(known + prompt_of(self.question.n_prompt, self.n_vocab, seed))
        return tuple(found)

    def _ask(self, prompts: Prompts, n_predict: int) -> tuple[Heard, ...]:
        """All users at once, each in a thread."""

        def ask(user: int) -> Heard:
            marks: list[tuple[float, int]] = []

            def mark(written: int) -> None:
                marks.append((time.perf_counter(), written))

            began_s = time.perf_counter()
            done = self.client.complete(
                prompts[user], n_predict, lambda _: None, slot=user, on_token=mark
            )
            return Heard(
                began_s=began_s,
                ended_s=time.perf_counter(),
                marks=tuple(marks),
                done=done,
            )

        return _at_once(ask, len(prompts))


def _at_once(ask: Callable[[int], Heard], count: int) -> tuple[Heard, ...]:
    """What it gives for 0, 1 and so on, all begun together.

    Who is left after a failure or Ctrl-C is not waited for: the server's end ends it.
    """
    ready = threading.Barrier(count)

    def begin(user: int) -> Heard:
        ready.wait()
        return ask(user)

    pool = ThreadPoolExecutor(count, thread_name_prefix="user")
    try:
        asked = [pool.submit(begin, user) for user in range(count)]
        return tuple(one.result() for one in asked)
    finally:
        ready.abort()
        pool.shutdown(wait=False, cancel_futures=True)
