"""A server that was started is watched until its model is loaded, or it fails."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.study import load_test
from placer.engine.advice import advice
from placer.engine.detached import DetachedProcess
from placer.engine.gauge import Gauge
from placer.engine.judge import judge
from placer.engine.log import device_of, read_log
from placer.engine.observation import Proof, Stage
from placer.engine.session import Session
from placer.engine.verdict import Outcome, verdict_text
from placer.errors import MachineError, PlacerError, SearchError
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.engine.verdict import Verdict
    from placer.serve import Running, StateFolder
    from placer.serve.contained import ContainedProcess

READING = "reading weights"
# What a server says when it begins something else: llama-context.cpp and common.cpp
# of build 11434.
DOING = (
    ("llama_context: constructing", "making the context"),
    ("sched_reserve: reserving", "reserving compute buffers"),
    ("warming up the model", "warming up"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A server that answers: its record as it now stands, and seconds it took."""

    running: Running
    seconds: float


class NotServedError(PlacerError):
    """A server ended before its model was loaded.

    Args:
        profile: what was to be served.
        verdict: on its launch.
        log: what it said.
    """

    def __init__(self, profile: str, verdict: Verdict, log: Path) -> None:
        advised = advice(verdict)
        hint = f"its log is {log}" if advised is None else f"{advised}; log: {log}"
        said = verdict_text(verdict)
        super().__init__(f"{profile} did not come up: {said}", hint=hint)
        self.verdict = verdict
        self.log = log
        outcome = verdict.outcome
        is_short = outcome.is_oom or outcome is Outcome.HOST_MEMORY
        self.exit_code = (SearchError if is_short else MachineError).exit_code


def load(
    process: DetachedProcess | ContainedProcess,
    running: Running,
    target: Target,
    rig: Rig,
    state: StateFolder,
    *,
    patience_s: float,
    on_step: Callable[[str], None],
) -> Loaded:
    """Wait until a started server has its model loaded.

    Raises:
        NotServedError: it ended, or nothing moved any more.
        MachineError: somebody stopped it meanwhile.
    """
    watch = _Watch(process=process, size_bytes=target.file.size_bytes, tell=on_step)
    gauge = Gauge(
        watch=rig.watch,
        free_now=rig.free_bytes,
        free_bytes=tuple(device.free_bytes for device in rig.machine.devices),
    )
    session = Session(
        test=load_test(target, rig, Proof.LOAD, patience_s),
        process=process,
        on_progress=lambda _: watch.look(session.vigil.lines),
        gauge=gauge,
    )
    with _followed(process):
        session.run()
    if session.stage is Stage.LOADED and session.load_s is not None:
        return Loaded(running=_known(running, session, state), seconds=session.load_s)
    process.stop()
    if state.server(running.profile) is None:
        raise MachineError(f"{running.profile} was stopped while it loaded")
    verdict = judge(session.observation(), rig.machine, Proof.LOAD)
    raise NotServedError(running.profile, verdict, state.kept_log(running.profile))


def _followed(
    process: DetachedProcess | ContainedProcess,
) -> AbstractContextManager[None]:
    """What a container says is copied meanwhile; a process writes it itself."""
    if isinstance(process, DetachedProcess):
        return nullcontext()
    return process.follow_log()


def _known(running: Running, session: Session, state: StateFolder) -> Running:
    """The record with what the server says to hold, where nobody knew before."""
    if all(device.planned_bytes is not None for device in running.devices):
        return running
    buffers = read_log(session.vigil.lines).buffers
    devices = tuple(
        replace(
            device,
            planned_bytes=sum(
                b.n_bytes for b in buffers if device_of(b.device) == device.name
            ),
        )
        for device in running.devices
    )
    told = replace(running, devices=devices)
    state.keep(told)
    return told


@dataclass(slots=True, kw_only=True)
class _Watch:
    """What a server that loads is doing, by its log and by the kernel.

    Attributes:
        process: the server.
        size_bytes: of the model's files.
        tell: told what it is doing.
    """

    process: DetachedProcess | ContainedProcess
    size_bytes: int
    tell: Callable[[str], None]
    _began_s: float = field(default_factory=time.monotonic)
    _doing: str = READING
    _seen: int = 0

    def look(self, lines: Sequence[str]) -> None:
        """Say where it stands."""
        for line in lines[self._seen :]:
            found = [words for phrase, words in DOING if phrase in line]
            self._doing = found[0] if found else self._doing
        self._seen = len(lines)
        text = self._doing
        if text == READING:
            text += f" of {size_text(self.size_bytes)}"
            n_bytes = read_bytes(self.process.pid)
            if n_bytes:
                text += f", {min(n_bytes / self.size_bytes, 0.99):.0%}"
        self.tell(f"{text}, {time.monotonic() - self._began_s:.0f} s")


def read_bytes(pid: int | None) -> int:
    """What a process has read or mapped; 0 where nobody tells."""
    import psutil

    if pid is None:
        return 0
    try:
        process = psutil.Process(pid)
        mapped = process.memory_info().rss
        return max(mapped, int(process.io_counters().read_chars))
    except (psutil.Error, AttributeError):
        return 0
