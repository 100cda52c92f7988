"""A llama-server that is up: launched, loaded, and ended when it is done with."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine.client import ServerClient
from placer.engine.judge import judge_log
from placer.engine.log import read_log
from placer.engine.verdict import Cause, Outcome, Verdict
from placer.engine.vigil import Vigil, settle, wait_for_health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from placer.engine.log import LogFacts
    from placer.engine.process import EngineProcess, Runner

# A launch whose last words were lost, or whose port was taken, is made again.
ATTEMPTS = 3
# What is asked of it while it loads gets an answer at once, or none.
HEALTH_TIMEOUT_S = 5.0


class NotUprightError(Exception):
    """A server did not come up, or fell.

    Not a ``PlacerError``: whoever wanted it says what that means.

    Args:
        verdict: on its launch.
        log_path: what it said.
    """

    def __init__(self, verdict: Verdict, log_path: Path) -> None:
        super().__init__(verdict.outcome.value)
        self.verdict = verdict
        self.log_path = log_path


@dataclass(slots=True, kw_only=True)
class Upright:
    """A server with its model loaded.

    Attributes:
        vigil: watches it.
        load_s: seconds from its launch until it was loaded.
    """

    vigil: Vigil
    load_s: float

    @property
    def process(self) -> EngineProcess:
        """The server."""
        return self.vigil.process

    @property
    def base_url(self) -> str:
        """Where it answers, without a final slash."""
        return self.process.base_url

    def facts(self) -> LogFacts:
        """What its log says so far."""
        self.vigil.move()
        self.vigil.look(loading=False)
        return read_log(self.vigil.lines)

    def fallen(self) -> NotUprightError | None:
        """Why it has ended; None while it runs.

        To be asked after a request that failed: a dying server is given a moment.
        """

        def tick() -> bool:
            self.vigil.move()
            return self.vigil.look(loading=False)

        settle(tick)
        return None if self.vigil.exit_code is None else _not_upright(self.vigil)


@contextmanager
def upright(
    runner: Runner,
    args: Sequence[str],
    *,
    log_path: Path,
    patience_s: float,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[Upright]:
    """A server for as long as the block lasts; its whole group ends with it.

    Args:
        runner: starts it.
        args: all flags but those of the address, ``--fit`` and the log.
        log_path: where its output goes.
        patience_s: seconds without a sign of loading after which it is stalled.
        on_wait: called some twenty times a second while it loads.

    Raises:
        NotUprightError: it did not come up.
        MachineError: it cannot be started at all.
    """
    launch_args = [*args, "--fit", "off", "-lv", "4"]
    for attempt in range(ATTEMPTS):
        process = runner.start(launch_args, log_path=log_path)
        try:
            vigil = Vigil(process=process, patience_s=patience_s)
            if _is_loaded(vigil, on_wait):
                yield Upright(vigil=vigil, load_s=vigil.elapsed_s)
                return
        finally:
            process.stop()
        error = _not_upright(vigil)
        if attempt == ATTEMPTS - 1 or not _is_disturbed(vigil, error.verdict):
            raise error


def _is_loaded(vigil: Vigil, on_wait: Callable[[], None]) -> bool:
    def tick() -> bool:
        on_wait()
        return vigil.look(loading=True)

    base_url = vigil.process.base_url
    with ServerClient(base_url, read_timeout_s=HEALTH_TIMEOUT_S) as client:
        return wait_for_health(client, tick)


def _is_disturbed(vigil: Vigil, verdict: Verdict) -> bool:
    """Whether the launch says nothing of what was launched."""
    taken = read_log(vigil.lines).port_taken
    return taken is not None or verdict.cause is Cause.CUT_OFF


def _not_upright(vigil: Vigil) -> NotUprightError:
    """By the log, where it says why."""
    vigil.hear_out()
    log_path = vigil.process.log_path
    if vigil.stalled:
        said = f"nothing moved for {vigil.patience_s} s"
        outcome, cause = Outcome.STALLED, Cause.TIME_OUT
        stalled = Verdict(outcome=outcome, evidence=(said,), cause=cause)
        return NotUprightError(stalled, log_path)
    verdict = judge_log(read_log(vigil.lines), exit_code=vigil.exit_code)
    if verdict.outcome in (Outcome.OK, Outcome.UNKNOWN):
        said = f"exit code {vigil.exit_code}"
        verdict = Verdict(outcome=Outcome.CRASHED, evidence=(said,))
    return NotUprightError(verdict, log_path)
