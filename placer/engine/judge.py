"""Observation or log -> Verdict: one table of rules, the first that holds decides."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine import phrases
from placer.engine.doubts import second_look
from placer.engine.log import AllocationFailure, LogFacts, Phase, device_of, is_host
from placer.engine.signals import STOP_SIGNALS, TIMED_OUT, signal_of
from placer.engine.verdict import OOM_OF, Cause, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.engine.observation import Observation, Proof
    from placer.machine import Machine

__all__ = ["Cause", "Launch", "Outcome", "Verdict", "judge", "judge_log", "signal_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the rules look at: a launch that placer watched, or the log of another's.

    Attributes:
        facts: of its log.
        exit_code: of an engine that ended by itself; None where it did not, or where
            nobody knows.
        is_over: whether it ended by itself. Of a log without an exit code: it may
            have, and what the log says last decides.
        proof: how far it was to be taken; None of a log alone, which proves nothing.
        reached: whether it came so far, and stands.
        stalled_in: what it was doing when nothing moved any more.
        answer_error: what a request was answered instead of tokens.
        free_bytes: buffer -> what its device had free before, of the devices that a
            failure may be blamed on; None of a log alone, which may name any.
        ending: the line by which a log tells how its process ended.
    """

    facts: LogFacts
    exit_code: int | None
    is_over: bool
    proof: Proof | None = None
    reached: bool = False
    stalled_in: str | None = None
    answer_error: str | None = None
    free_bytes: Mapping[str, int] | None = None
    ending: str | None = None


# Signals of a build for another processor or of a bug, never of memory.
CRASH_SIGNALS = {
    signal.SIGILL: Cause.ILLEGAL_INSTRUCTION,
    signal.SIGSEGV: Cause.SEGMENTATION_FAULT,
    signal.SIGBUS: Cause.BUS_ERROR,
    signal.SIGFPE: Cause.SEGMENTATION_FAULT,
}


def judge(observation: Observation, machine: Machine, proof: Proof) -> Verdict:
    """The verdict on what was seen, for a proof that was asked to go so far."""
    free = zip(machine.devices, observation.free_bytes, strict=True)
    verdict = _verdict(
        Launch(
            facts=observation.facts,
            exit_code=observation.exit_code,
            is_over=observation.exit_code is not None,
            proof=proof,
            reached=int(observation.stage) >= int(proof),
            stalled_in=observation.stage.title if observation.stalled else None,
            answer_error=observation.answer_error,
            ending=observation.facts.oom_killed,
            free_bytes={
                name: n_bytes
                for device, n_bytes in free
                for name in (device.name, device.buffer_type)
            },
        )
    )
    return second_look(verdict, observation, machine)


def judge_log(
    facts: LogFacts, *, exit_code: int | None = None, ending: str | None = None
) -> Verdict:
    """The verdict on the log of a launch that placer did not watch.

    Args:
        facts: of the log.
        exit_code: of the server, where somebody knows it.
        ending: the line that tells it, where the log itself does.
    """
    launch = Launch(facts=facts, exit_code=exit_code, is_over=True, ending=ending)
    return _verdict(launch)


def _verdict(launch: Launch) -> Verdict:
    for rule in RULES:
        verdict = rule(launch)
        if verdict is not None:
            return verdict
    cause = Cause.CUT_OFF if _is_cut_off(launch) else None
    cause = cause or (Cause.ABORTED if launch.facts.aborted else None)
    return Verdict(outcome=Outcome.CRASHED, evidence=_last_words(launch), cause=cause)


def _is_cut_off(launch: Launch) -> bool:
    """Whether its last words are lost, but for a backend's: log.cpp:452, 11434."""
    code, said = launch.exit_code, launch.facts.aborted
    if code is None or code <= 0 or launch.facts.gave_up is not None:
        return False
    went_on = signal_of(code) is None and phrases.WENT_ON.match(said or "") is not None
    return said is None or (went_on and not launch.facts.ready)


def _fits(launch: Launch) -> Verdict | None:
    if launch.proof is None or not launch.reached or launch.is_over:
        return None
    return Verdict(outcome=Outcome.FITS)


def _oom_unheeded(launch: Launch) -> Verdict | None:
    """A buffer that was not given, and was used: builds about 10434 with an image."""
    facts = launch.facts
    failed = any(not is_host(failure.device) for failure in facts.failures)
    if not (failed and facts.ready) or facts.decode_failed is not None:
        return None
    if signal_of(launch.exit_code) != signal.SIGSEGV:
        return None
    return _oom(Outcome.OOM_IN_USE, launch)


def _crash_signal(launch: Launch) -> Verdict | None:
    number = signal_of(launch.exit_code)
    if number not in CRASH_SIGNALS:
        return None
    return Verdict(
        outcome=Outcome.CRASHED,
        evidence=(f"killed by {signal.Signals(number).name}", *_last_words(launch)),
        cause=CRASH_SIGNALS[signal.Signals(number)],
    )


def _killed(launch: Launch) -> Verdict | None:
    """SIGKILL that placer did not send: the kernel's, when the host is out of RAM."""
    if signal_of(launch.exit_code) != signal.SIGKILL:
        return None
    said = () if launch.ending is None else (launch.ending,)
    sure = phrases.OOM_KILLER.search(launch.ending or "") is not None
    return Verdict(
        outcome=Outcome.HOST_MEMORY if sure else Outcome.CRASHED,
        evidence=("killed by SIGKILL: the host may be out of memory", *said),
        cause=Cause.KILLED,
    )


def _host_memory(launch: Launch) -> Verdict | None:
    """The host, not a device, had nothing left: no size of a placement follows."""
    facts = launch.facts
    if not launch.is_over or _telling_failure(launch) is not None:
        return None
    if facts.host_short is not None:
        line, asked = facts.host_short, _asked(facts, "CPU")
    elif facts.failed_phase is not None and facts.failures:
        last = facts.failures[-1]
        if not is_host(last.device):
            return None
        line, asked = last.line, _asked(facts, last.device)
    else:
        return None
    return Verdict(
        outcome=Outcome.HOST_MEMORY,
        asked_bytes=asked,
        evidence=(f"the host ran out of memory: {line}",),
    )


def _oom_at_load(launch: Launch) -> Verdict | None:
    facts = launch.facts
    if facts.failed_phase is None or facts.ready or not launch.is_over:
        return None
    return _oom(OOM_OF[facts.failed_phase], launch)


def _oom_beside(launch: Launch) -> Verdict | None:
    """A draft model or a projector found no room beside the model."""
    facts = launch.facts
    if facts.ready or not launch.is_over or _telling_failure(launch) is None:
        return None
    asserted = "GGML_ASSERT(buffer" in (facts.aborted or "")
    if facts.companion is None and not (asserted and facts.projector):
        return None
    return _oom(Outcome.OOM_WEIGHTS, launch)


def _oom_in_use(launch: Launch) -> Verdict | None:
    facts = launch.facts
    ran_out = phrases.OUT_OF_MEMORY.search(facts.aborted or "") is not None
    if facts.decode_failed is None and not ran_out:
        return None
    if not facts.failures and not ran_out:
        return None
    if facts.aborted is not None and _is_cut_off(launch):
        return None
    # A build of 2023 aborts so while it loads, too.
    reached = Phase.IN_USE if facts.ready else facts.reached or Phase.IN_USE
    return _oom(OOM_OF[reached], launch)


def _device_lost(launch: Launch) -> Verdict | None:
    """A GPU that is gone is no memory, and no bug of a placement."""
    facts = launch.facts
    lost = phrases.DEVICE_LOST.search(facts.aborted or "") is not None
    said = [line for line in (facts.aborted, facts.kernel) if line]
    if not lost and facts.kernel is None:
        return None
    return Verdict(
        outcome=Outcome.CRASHED,
        evidence=("a device disappeared", *said),
        cause=Cause.DEVICE_LOST,
    )


def _aborted(launch: Launch) -> Verdict | None:
    """Aborts that say what to change."""
    said = launch.facts.aborted or ""
    for pattern, cause in ABORT_CAUSES:
        if launch.is_over and pattern.search(said):
            return Verdict(
                outcome=Outcome.CRASHED, evidence=_last_words(launch), cause=cause
            )
    return None


def _port_taken(launch: Launch) -> Verdict | None:
    if launch.facts.port_taken is None:
        return None
    return Verdict(
        outcome=Outcome.REFUSED,
        evidence=("the port was taken by somebody else", launch.facts.port_taken),
        cause=Cause.PORT,
    )


def _refused(launch: Launch) -> Verdict | None:
    said, exit_code = launch.facts.refused, launch.exit_code
    if said is None or launch.facts.ready or not launch.is_over or exit_code == 0:
        return None
    if signal_of(exit_code) is not None:
        return None
    is_model = phrases.MODEL.search(phrases.message(said)) is not None
    return Verdict(
        outcome=Outcome.REFUSED,
        evidence=(said,),
        cause=Cause.MODEL if is_model else Cause.FLAG,
    )


def _stalled(launch: Launch) -> Verdict | None:
    doing = launch.stalled_in
    if launch.proof is None and launch.exit_code == TIMED_OUT:
        doing = None if launch.facts.ready else "loading, until its time was over"
    if doing is None:
        return None
    return Verdict(
        outcome=Outcome.STALLED,
        evidence=(f"nothing moved while {doing}", *_last_words(launch)),
        cause=Cause.TIME_OUT,
    )


def _nothing_wrong(launch: Launch) -> Verdict | None:
    """Of a log alone: it shows a server that came up, or it shows too little."""
    facts, code = launch.facts, launch.exit_code
    stopped = code in (None, 0, TIMED_OUT) or signal_of(code) in STOP_SIGNALS
    wrong = (facts.aborted, facts.decode_failed, facts.gave_up)
    if launch.proof is not None or not stopped or any(wrong):
        return None
    if not facts.ready:
        return Verdict(outcome=Outcome.UNKNOWN)
    for line, cause in (
        (facts.context_full, Cause.CONTEXT_FULL),
        (facts.no_gpu, Cause.NO_GPU),
    ):
        if line is not None:
            return Verdict(outcome=Outcome.OK, evidence=(line,), cause=cause)
    return Verdict(outcome=Outcome.OK)


ABORT_CAUSES = (
    (phrases.NO_KERNEL, Cause.NO_KERNEL),
    (phrases.RPC_GONE, Cause.RPC_SERVER),
)
Rule = Callable[[Launch], Verdict | None]
RULES: tuple[Rule, ...] = (
    _fits,
    _oom_unheeded,
    _crash_signal,
    _killed,
    _host_memory,
    _oom_at_load,
    _oom_beside,
    _oom_in_use,
    _device_lost,
    _aborted,
    _port_taken,
    _refused,
    _stalled,
    _nothing_wrong,
)


def _oom(outcome: Outcome, launch: Launch) -> Verdict:
    facts, failure = launch.facts, _telling_failure(launch)
    device = _only_device(launch) if failure is None else failure.device
    said = [None if failure is None else failure.line]
    if facts.failed_phase is None or outcome is Outcome.OOM_IN_USE:
        said.append(facts.decode_failed or facts.aborted or launch.answer_error)
    if launch.proof is None:
        said = [*_sized(facts, device), *said, facts.phase_line]
    if not facts.ready:
        is_projector = facts.failed_phase is None
        said.append(facts.companion or (facts.projector if is_projector else None))
    limits = [f.line for f in facts.failures] + [facts.aborted or "", *facts.errors]
    limited = any(phrases.BUFFER_LIMIT.search(line) for line in limits)
    return Verdict(
        outcome=outcome,
        device=device_of(device) if launch.proof is None and device else device,
        asked_bytes=_asked(facts, device) if failure or launch.proof is None else None,
        free_bytes=None if device is None else _free_at_failure(launch, device),
        evidence=tuple(dict.fromkeys(line for line in said if line)),
        cause=Cause.BUFFER_LIMIT if limited else None,
    )


def _telling_failure(launch: Launch) -> AllocationFailure | None:
    """The last failure that names a device; of a machine, one of its devices."""
    named = [f for f in launch.facts.failures if _is_device(f.device, launch)]
    return named[-1] if named else None


def _only_device(launch: Launch) -> str | None:
    """The one device of which a log speaks at all."""
    facts = launch.facts
    if launch.proof is not None:
        return None
    names = {name for name, _ in facts.left_bytes}
    names |= {device_of(b.device) for b in facts.buffers if not is_host(b.device)}
    if not names and facts.sole_device is not None:
        return facts.sole_device
    return names.pop() if len(names) == 1 else None


def _is_device(name: str, launch: Launch) -> bool:
    if launch.free_bytes is not None:
        return name in launch.free_bytes
    return bool(name) and not is_host(name)


def _asked(facts: LogFacts, device: str | None) -> int | None:
    """The size of the buffer that the device did not give."""
    sized = [f for f in facts.failures if f.device in (device, "")]
    known = [f.asked_bytes for f in sized if f.asked_bytes is not None]
    return known[-1] if known else None


def _sized(facts: LogFacts, device: str | None) -> list[str]:
    """The line that tells the size, where another names the device."""
    of_device = [f for f in facts.failures if f.device in (device, "")]
    return [f.line for f in of_device if f.asked_bytes is not None][-1:]


def _free_at_failure(launch: Launch, buffer: str) -> int | None:
    """What was free before, less what the engine had been given of it by then."""
    device = device_of(buffer)
    if launch.free_bytes is None:
        # Without a line of a buffer nobody knows what was given.
        at_first = launch.facts.failed_phase is Phase.WEIGHTS
        known = at_first or launch.facts.buffers
        return dict(launch.facts.left_bytes).get(device) if known else None
    if buffer not in launch.free_bytes:
        return None
    given = sum(
        b.n_bytes for b in launch.facts.buffers if device_of(b.device) == device
    )
    return max(launch.free_bytes[buffer] - given, 0)


def _last_words(launch: Launch) -> tuple[str, ...]:
    facts = launch.facts
    code = None if launch.exit_code is None else f"exit code {launch.exit_code}"
    said = [code, launch.ending, launch.answer_error, facts.aborted]
    said += [facts.decode_failed, *facts.errors[-2:]]
    if not facts.errors:
        said.append(facts.gave_up)
    return tuple(dict.fromkeys(line for line in said if line))
