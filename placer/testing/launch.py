"""One launch of an engine, seen and judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.engine.judge import Cause, judge
from placer.search.search import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from placer.engine.judge import Verdict
    from placer.engine.loadtest import LoadTest
    from placer.engine.observation import Observation
    from placer.engine.session import LoadProgress


def launched(
    test: LoadTest,
    args: Sequence[str],
    log_path: Path,
    on_progress: Callable[[LoadProgress], None] = lambda _: None,
) -> tuple[Observation, Verdict]:
    """What was seen and what it means; again where the engine's last words are lost.

    As a search does it, which keeps each of them on record.
    """
    for _ in range(ATTEMPTS):
        seen = test.observe(args, log_path=log_path, on_progress=on_progress)
        verdict = judge(seen, test.machine, test.proof)
        if verdict.cause is not Cause.CUT_OFF:
            break
    return seen, verdict
