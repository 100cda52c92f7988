"""The rules of the judge, one by one."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from placer.engine.judge import Cause, Outcome, judge, judge_log, signal_of
from placer.engine.log import AllocationFailure, Buffer, LogFacts, Phase, read_log
from placer.engine.observation import Observation, Proof, Stage
from placer.testing.fake_shapes import fake_machine
from placer.units import MIB

MACHINE = fake_machine([100 * MIB, 50 * MIB])
GOOD = Observation(
    stage=Stage.DECODED,
    exit_code=None,
    stalled=False,
    answer_error=None,
    facts=LogFacts(ready=True),
    free_bytes=(100 * MIB, 50 * MIB),
)


def outcome_of(seen: Observation, proof: Proof = Proof.FULL) -> Outcome:
    """What it is judged to be."""
    return judge(seen, MACHINE, proof).outcome


def failing(*devices: str, phase: Phase = Phase.COMPUTE) -> LogFacts:
    """A log in which these devices did not give a MiB, in order."""
    failures = tuple(
        AllocationFailure(device=device, asked_bytes=MIB, line=f"no {device}")
        for device in devices
    )
    return LogFacts(failures=failures, failed_phase=phase)


@pytest.mark.parametrize("stage", list(Stage))
def test_only_what_was_asked_for_fits(stage: Stage) -> None:
    """A launch fits once it came as far as the proof, and not before."""
    seen = replace(GOOD, stage=stage)
    for proof in Proof:
        fits = outcome_of(seen, proof) is Outcome.FITS
        assert fits == (int(stage) >= int(proof))


def test_an_engine_that_ended_by_itself_does_not_fit() -> None:
    """However far it came: it would not stand."""
    assert outcome_of(replace(GOOD, exit_code=0)) is Outcome.CRASHED
    assert outcome_of(replace(GOOD, exit_code=-11)) is Outcome.CRASHED


def test_an_end_without_last_words_is_cut_off() -> None:
    """The engine ended by itself: not by a signal, and not with what it says then."""
    seen = replace(GOOD, exit_code=1)
    said = replace(seen.facts, gave_up="srv  llama_server: exiting due to an error")
    aborted = replace(seen.facts, aborted="GGML_ASSERT(x) failed")
    causes = [
        judge(one, MACHINE, Proof.FULL).cause
        for one in (
            seen,
            replace(seen, exit_code=0),
            replace(seen, facts=said),
            replace(seen, facts=aborted),
        )
    ]
    assert causes == [Cause.CUT_OFF, None, None, Cause.ABORTED]


REFUSED_BUFFER = """\
load_tensors:      Vulkan0 model buffer size =    15.76 MiB
ggml_vulkan: Device memory allocation of size 12582912 failed.
ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory
"""


@pytest.mark.parametrize(
    ("exit_code", "cause"), [(1, Cause.CUT_OFF), (-6, None), (134, None)]
)
def test_a_buffer_that_was_refused_is_of_no_phase_before_the_engine_says_so(
    exit_code: int, cause: Cause | None
) -> None:
    """Vulkan's words get through where those behind them are lost; an abort ends."""
    facts = read_log(REFUSED_BUFFER.splitlines())
    verdict = judge_log(facts, exit_code=exit_code)
    assert verdict.cause is cause
    assert verdict.outcome.is_oom == (cause is None)


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGSEGV, signal.SIGBUS])
def test_a_crash_signal_is_no_memory(number: signal.Signals) -> None:
    """Not even after a failed allocation, and not by a shell's exit code either."""
    for code in (-number, 128 + number):
        seen = replace(
            GOOD, stage=Stage.STARTED, exit_code=code, facts=failing("Vulkan0")
        )
        verdict = judge(seen, MACHINE, Proof.FULL)
        assert verdict.outcome is Outcome.CRASHED
        assert number.name in verdict.evidence[0]


def test_a_fault_on_a_buffer_that_was_not_given_is_memory() -> None:
    """In use, by SIGSEGV alone, and not where the engine had dealt with the failure."""
    facts = replace(failing("Vulkan0"), ready=True, failed_phase=None)
    seen = replace(GOOD, stage=Stage.LOADED, exit_code=-signal.SIGSEGV, facts=facts)
    verdict = judge(seen, MACHINE, Proof.FULL)
    assert verdict.outcome is Outcome.OOM_IN_USE
    assert verdict.device == "Vulkan0"
    assert outcome_of(replace(seen, exit_code=-signal.SIGILL)) is Outcome.CRASHED
    for other in (
        replace(facts, failures=()),
        replace(facts, decode_failed="Compute error."),
        replace(facts, ready=False),
        replace(failing("Vulkan_Host"), ready=True, failed_phase=None),
    ):
        assert outcome_of(replace(seen, facts=other)) is Outcome.CRASHED


def test_sigkill_points_at_the_host() -> None:
    """Placer did not send it: the kernel does, when the host is out of memory."""
    verdict = judge(replace(GOOD, exit_code=-9), MACHINE, Proof.FULL)
    assert verdict.outcome is Outcome.CRASHED
    assert "host" in verdict.evidence[0]
    assert outcome_of(replace(GOOD, exit_code=137)) is Outcome.CRASHED


def test_the_last_failure_of_a_device_tells() -> None:
    """Lines that name no device of the machine do not."""
    facts = failing("Vulkan0", "Vulkan1", "", "CPU")
    verdict = judge(
        replace(GOOD, stage=Stage.STARTED, exit_code=1, facts=facts),
        MACHINE,
        Proof.FULL,
    )
    assert verdict.outcome is Outcome.OOM_COMPUTE
    assert verdict.device == "Vulkan1"
    assert verdict.evidence == ("no Vulkan1",)


def test_free_bytes_are_what_was_left_by_then() -> None:
    """What the device had, less the buffers it had given; never below zero."""
    given = tuple(
        Buffer(device="Vulkan1", phase=phase, n_bytes=20 * MIB)
        for phase in (Phase.WEIGHTS, Phase.CONTEXT)
    )
    facts = replace(failing("Vulkan1"), buffers=given)
    seen = replace(GOOD, stage=Stage.STARTED, exit_code=1, facts=facts)
    assert judge(seen, MACHINE, Proof.FULL).free_bytes == 10 * MIB
    more = replace(facts, buffers=given * 2)
    seen = replace(seen, facts=more)
    assert judge(seen, MACHINE, Proof.FULL).free_bytes == 0


def test_memory_of_the_host_is_no_device() -> None:
    """A host buffer that was not given says nothing of a placement's size."""
    seen = replace(
        GOOD,
        stage=Stage.STARTED,
        exit_code=1,
        facts=failing("CUDA_Host", phase=Phase.WEIGHTS),
    )
    verdict = judge(seen, MACHINE, Proof.FULL)
    assert verdict.outcome is Outcome.HOST_MEMORY
    assert not verdict.outcome.is_oom


def test_a_failed_batch_without_a_failed_buffer_is_no_memory() -> None:
    """A compute error has other causes too."""
    facts = LogFacts(ready=True, decode_failed="Compute error.")
    seen = replace(GOOD, stage=Stage.LOADED, facts=facts, answer_error="HTTP 500")
    verdict = judge(seen, MACHINE, Proof.FULL)
    assert verdict.outcome is Outcome.CRASHED
    assert "HTTP 500" in verdict.evidence


def test_a_refusal_needs_an_exit() -> None:
    """A server that serves has refused nothing; one that died by a signal neither."""
    facts = LogFacts(refused="error: invalid argument: --x")
    seen = replace(GOOD, stage=Stage.STARTED, facts=facts, exit_code=1)
    assert outcome_of(seen) is Outcome.REFUSED
    assert outcome_of(replace(seen, exit_code=-6)) is Outcome.CRASHED
    assert outcome_of(replace(seen, exit_code=None)) is Outcome.CRASHED
    ready = replace(facts, ready=True)
    assert outcome_of(replace(seen, facts=ready)) is Outcome.CRASHED


def test_a_stall_tells_where() -> None:
    """The stage stands in the evidence."""
    seen = replace(GOOD, stage=Stage.LOADED, stalled=True)
    verdict = judge(seen, MACHINE, Proof.FULL)
    assert verdict.outcome is Outcome.STALLED
    assert "filling the context" in verdict.evidence[0]


def test_what_says_anything_of_size() -> None:
    """The names tell them apart, and each has its phase."""
    oom = {o for o in Outcome if o.is_oom}
    assert oom == {
        Outcome.OOM_WEIGHTS,
        Outcome.OOM_CONTEXT,
        Outcome.OOM_COMPUTE,
        Outcome.OOM_IN_USE,
    }
    said = {o for o in Outcome if o.says_size}
    assert said == oom | {Outcome.FITS, Outcome.SPILLED}


def test_exit_codes_and_signals() -> None:
    """Popen's and a shell's way to say a signal; 128 and ordinary codes are none."""
    assert signal_of(None) is None
    assert signal_of(0) is None
    assert signal_of(1) is None
    assert signal_of(128) is None
    assert signal_of(255) is None
    assert signal_of(-9) == signal_of(137) == 9
