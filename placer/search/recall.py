"""A search that was broken off: its launches, so that none is made again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placer.engine.client import Completion
from placer.engine.judge import Cause, Outcome, Verdict
from placer.engine.log import read_log
from placer.engine.observation import Observation, Stage
from placer.errors import JournalError
from placer.search.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from placer.search.records import StudyRecord
    from placer.search.trial import Probe

Args = tuple[str, ...]


@dataclass(kw_only=True)
class Recall:
    """What a study on record knows of launches, by their flags.

    Attributes:
        folder: of its journal and of the engine's logs.
        trials: records of answered launches.
        took_down: flags of launches during which the machine went down.
    """

    folder: Path
    trials: dict[Args, list[dict[str, Any]]]
    took_down: frozenset[Args] = field(default=frozenset())

    def trial(self, probe: Probe) -> Trial | None:
        """What the launch showed when it was made, None if it never was.

        Of a launch that was made several times, each is told once, in order.

        Raises:
            JournalError: the engine's log of it is gone.
        """
        known = self.trials.get(probe.args)
        return trial_of(known.pop(0), probe, self.folder) if known else None


def recall_of(study: StudyRecord, boot: str | None) -> Recall:
    """What is known of a study's launches.

    Args:
        study: that was broken off.
        boot: what tells this start of the machine from others; None if nothing does.
    """
    trials: dict[Args, list[dict[str, Any]]] = {}
    for record in study.trials:
        trials.setdefault(tuple(record["args"]), []).append(record)
    took_down = {
        tuple(record["args"])
        for record in study.in_flight
        if boot is not None and record.get("boot") not in (None, boot)
    }
    return Recall(folder=study.folder, trials=trials, took_down=frozenset(took_down))


def trial_of(record: dict[str, Any], probe: Probe, folder: Path) -> Trial:
    """The trial that a record, and the engine's log beside it, amount to.

    Raises:
        JournalError: the log is gone.
    """
    path = folder / f"{record['number']:03d}.log"
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise JournalError(
            f"cannot be read: {error.strerror}",
            path=path,
            hint="without it the search cannot go on: start it anew",
        ) from None
    stages = {stage.title: stage for stage in Stage}
    single, cause = record["single"], record["cause"]
    return Trial(
        probe=probe,
        observation=Observation(
            stage=stages[record["stage"]],
            exit_code=record["exit_code"],
            stalled=record["verdict"] == Outcome.STALLED.value,
            answer_error=None,
            facts=read_log(text.splitlines()),
            free_bytes=tuple(record["free_before_bytes"]),
            free_after_bytes=_tuple(record["free_after_bytes"]),
            peak_bytes=_tuple(record["peak_bytes"]),
            others_bytes=_tuple(record["others_bytes"]),
            image_tokens=record["image_tokens"],
            prompt_tokens=record["prompt_tokens"],
            prompt_tokens_per_s=record["prompt_tokens_per_s"],
            single=None if single is None else Completion(**single),
            load_s=record["load_s"],
            total_s=record["total_s"],
        ),
        verdict=Verdict(
            outcome=Outcome(record["verdict"]),
            device=record["device"],
            asked_bytes=record["asked_bytes"],
            free_bytes=record["free_bytes"],
            evidence=tuple(record["evidence"]),
            cause=None if cause is None else Cause(cause),
        ),
    )


def _tuple(figures: list[int] | None) -> tuple[int, ...] | None:
    return None if figures is None else tuple(figures)
