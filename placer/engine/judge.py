"""Observation -> Verdict: a table of rules, the first that holds decides."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from placer.engine.log import AllocationFailure, LogFacts, Phase
from placer.engine.observation import Observation, Proof
from placer.machine import Machine


class Outcome(Enum):
    """What a launch showed. Only FITS and the OOM_* say anything about size."""

    FITS = "FITS"
    OOM_WEIGHTS = "OOM_WEIGHTS"
    OOM_CONTEXT = "OOM_CONTEXT"
    OOM_COMPUTE = "OOM_COMPUTE"
    OOM_IN_USE = "OOM_IN_USE"
    HOST_MEMORY = "HOST_MEMORY"
    REFUSED = "REFUSED"
    CRASHED = "CRASHED"
    STALLED = "STALLED"

    @property
    def is_oom(self) -> bool:
        """Whether memory ran out."""
        return self.value.startswith("OOM_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one launch.

    Attributes:
        outcome: what it showed.
        device: the device that ran out of memory, where the log says.
        asked_bytes: the buffer that it did not give.
        free_bytes: what it had left at that moment: free before, less what the
            engine had been given of it by then.
        evidence: the lines and facts that decided.
    """

    outcome: Outcome
    device: str | None = None
    asked_bytes: int | None = None
    free_bytes: int | None = None
    evidence: tuple[str, ...] = ()

    @property
    def phase(self) -> Phase | None:
        """When memory ran out."""
        return PHASE_OF.get(self.outcome)


OOM_OF = {
    Phase.WEIGHTS: Outcome.OOM_WEIGHTS,
    Phase.CONTEXT: Outcome.OOM_CONTEXT,
    Phase.COMPUTE: Outcome.OOM_COMPUTE,
    Phase.IN_USE: Outcome.OOM_IN_USE,
}
PHASE_OF = {outcome: phase for phase, outcome in OOM_OF.items()}
# Signals of a build for another processor or of a bug, never of memory.
CRASH_SIGNALS = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
OUT_OF_MEMORY_WORDS = ("out of memory", "OutOfDeviceMemory", "Insufficient Memory")


def judge(observation: Observation, machine: Machine, proof: Proof) -> Verdict:
    """The verdict on what was seen, for a proof that was asked to go so far."""
    for rule in RULES:
        verdict = rule(observation, machine, proof)
        if verdict is not None:
            return verdict
    return Verdict(outcome=Outcome.CRASHED, evidence=_last_words(observation))


def _fits(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del machine
    if int(seen.stage) < int(proof) or seen.exit_code is not None:
        return None
    return Verdict(outcome=Outcome.FITS)


def _crash_signal(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del machine, proof
    number = signal_of(seen.exit_code)
    if number not in CRASH_SIGNALS:
        return None
    return Verdict(
        outcome=Outcome.CRASHED,
        evidence=(f"killed by {signal.Signals(number).name}", *_last_words(seen)),
    )


def _killed(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    """SIGKILL that placer did not send: the kernel's, when the host is out of RAM."""
    del machine, proof
    if signal_of(seen.exit_code) != signal.SIGKILL:
        return None
    return Verdict(
        outcome=Outcome.CRASHED,
        evidence=("killed by SIGKILL: the host may be out of memory",),
    )


def _host_memory(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    """The host, not a device, had nothing left: no size of a placement follows."""
    del proof
    facts = seen.facts
    if seen.exit_code is None or facts.failed_phase is None or not facts.failures:
        return None
    last = facts.failures[-1]
    on_host = last.device == "CPU" or last.device.endswith("_Host")
    if not on_host or _telling_failure(facts, machine) is not None:
        return None
    return Verdict(
        outcome=Outcome.HOST_MEMORY,
        asked_bytes=_asked(facts, last.device),
        evidence=(f"the host ran out of memory: {last.line}",),
    )


def _oom_at_load(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del proof
    facts = seen.facts
    if facts.failed_phase is None or facts.ready or seen.exit_code is None:
        return None
    return _oom(OOM_OF[facts.failed_phase], seen, machine)


def _oom_in_use(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del proof
    facts = seen.facts
    ran_out = any(word in (facts.aborted or "") for word in OUT_OF_MEMORY_WORDS)
    if facts.decode_failed is None and not ran_out:
        return None
    if not facts.failures and not ran_out:
        return None
    return _oom(Outcome.OOM_IN_USE, seen, machine)


def _port_taken(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del machine, proof
    if not seen.facts.port_taken:
        return None
    return Verdict(
        outcome=Outcome.REFUSED, evidence=("the port was taken by somebody else",)
    )


def _refused(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del machine, proof
    facts = seen.facts
    if facts.refused is None or facts.ready or seen.exit_code in (None, 0):
        return None
    if signal_of(seen.exit_code) is not None:
        return None
    return Verdict(outcome=Outcome.REFUSED, evidence=(facts.refused,))


def _stalled(seen: Observation, machine: Machine, proof: Proof) -> Verdict | None:
    del machine, proof
    if not seen.stalled:
        return None
    return Verdict(
        outcome=Outcome.STALLED,
        evidence=(f"nothing moved while {seen.stage.title}", *_last_words(seen)),
    )


Rule = Callable[[Observation, Machine, Proof], Verdict | None]
RULES: tuple[Rule, ...] = (
    _fits,
    _crash_signal,
    _killed,
    _host_memory,
    _oom_at_load,
    _oom_in_use,
    _port_taken,
    _refused,
    _stalled,
)


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a process, as Popen (-9) or a shell (137) tells it."""
    if exit_code is None:
        return None
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code < 160 else None


def _oom(outcome: Outcome, seen: Observation, machine: Machine) -> Verdict:
    failure = _telling_failure(seen.facts, machine)
    device = None if failure is None else failure.device
    evidence: tuple[str, ...] = () if failure is None else (failure.line,)
    said = seen.facts.decode_failed or seen.facts.aborted or seen.answer_error
    if outcome is Outcome.OOM_IN_USE and said:
        evidence += (said,)
    return Verdict(
        outcome=outcome,
        device=device,
        asked_bytes=None if failure is None else _asked(seen.facts, device),
        free_bytes=_free_at_failure(seen, machine, device),
        evidence=evidence,
    )


def _telling_failure(facts: LogFacts, machine: Machine) -> AllocationFailure | None:
    """The last failure that names a device of the machine."""
    names = {d.name for d in machine.devices} | {d.buffer_type for d in machine.devices}
    named = [f for f in facts.failures if f.device in names]
    return named[-1] if named else None


def _asked(facts: LogFacts, device: str | None) -> int | None:
    """The size of the buffer that the device did not give."""
    sizes = [f.asked_bytes for f in facts.failures if f.device in (device, "")]
    known = [size for size in sizes if size is not None]
    return known[-1] if known else None


def _free_at_failure(
    seen: Observation, machine: Machine, device: str | None
) -> int | None:
    for index, candidate in enumerate(machine.devices):
        if device in (candidate.name, candidate.buffer_type):
            given = sum(
                b.n_bytes
                for b in seen.facts.buffers
                if b.device in (candidate.name, candidate.buffer_type)
            )
            return max(seen.free_bytes[index] - given, 0)
    return None


def _last_words(seen: Observation) -> tuple[str, ...]:
    code = () if seen.exit_code is None else (f"exit code {seen.exit_code}",)
    error = () if seen.answer_error is None else (seen.answer_error,)
    aborted = () if seen.facts.aborted is None else (seen.facts.aborted,)
    return (*code, *error, *aborted, *seen.facts.errors[-2:])
