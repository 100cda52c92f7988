"""What a second look makes of a verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from placer.engine.advice import advice
from placer.engine.doubts import spilled
from placer.engine.judge import judge
from placer.engine.log import AllocationFailure, BreakdownRow, Buffer, LogFacts, Phase
from placer.engine.observation import Observation, Proof, Stage
from placer.engine.verdict import Outcome, Verdict
from placer.testing.fake_shapes import fake_machine
from placer.units import MIB

FREE = (400 * MIB, 300 * MIB)
MACHINE = fake_machine(FREE)
FITS = Observation(
    stage=Stage.DECODED,
    exit_code=None,
    stalled=False,
    answer_error=None,
    facts=LogFacts(ready=True),
    free_bytes=FREE,
)


def ran_out(device: str, phase: Phase = Phase.COMPUTE) -> Observation:
    """A launch for which this device had no room."""
    failure = AllocationFailure(device=device, asked_bytes=MIB, line="no room")
    facts = LogFacts(failures=(failure,), failed_phase=phase)
    return replace(FITS, stage=Stage.STARTED, exit_code=1, facts=facts)


def judged(seen: Observation) -> Verdict:
    """The verdict for a full proof."""
    return judge(seen, MACHINE, Proof.FULL)


def test_memory_that_another_took_is_no_size() -> None:
    """By the watch; the line says who took how much of what."""
    alone = ran_out("Vulkan1")
    assert judged(alone).outcome is Outcome.OOM_COMPUTE
    assert judged(replace(alone, others_bytes=(0, 32 * MIB))) == judged(alone)
    verdict = judged(replace(alone, others_bytes=(0, 300 * MIB)))
    assert verdict.outcome is Outcome.SPOILED
    assert not verdict.outcome.is_oom
    assert not verdict.outcome.says_size
    assert verdict.evidence[0] == "another process took 300 MiB of Vulkan1 meanwhile"
    assert verdict.device == "Vulkan1"
    assert "Vulkan1" in (advice(verdict) or "")


def test_memory_that_is_missing_afterwards_was_taken() -> None:
    """Without a watch too, and the larger figure of both is told."""
    seen = replace(ran_out("Vulkan1"), free_after_bytes=(400 * MIB, 200 * MIB))
    assert "took 100 MiB of Vulkan1" in judged(seen).evidence[0]
    seen = replace(seen, others_bytes=(0, 150 * MIB))
    assert "took 150 MiB of Vulkan1" in judged(seen).evidence[0]
    more = replace(seen, free_after_bytes=(500 * MIB, 400 * MIB), others_bytes=(0, 0))
    assert judged(more).outcome is Outcome.OOM_COMPUTE


def test_only_the_device_that_ran_out_counts() -> None:
    """What another device lost did no harm, unless the log names none."""
    elsewhere = replace(ran_out("Vulkan1"), others_bytes=(300 * MIB, 0))
    assert judged(elsewhere).outcome is Outcome.OOM_COMPUTE
    nameless = replace(ran_out(""), others_bytes=(300 * MIB, 0))
    assert judged(nameless).outcome is Outcome.SPOILED
    assert judged(nameless).device is None


def test_what_fits_beside_another_fits() -> None:
    """And a crash stays a crash."""
    assert judged(replace(FITS, others_bytes=FREE)).outcome is Outcome.FITS
    crashed = replace(FITS, exit_code=-11, others_bytes=FREE)
    assert judged(crashed).outcome is Outcome.CRASHED


def buffers(*sizes_mib: int, device: str = "Vulkan0") -> LogFacts:
    """Weights, context and a compute buffer for each further size."""
    phases = (Phase.WEIGHTS, Phase.CONTEXT, *[Phase.COMPUTE] * (len(sizes_mib) - 2))
    held = zip(phases, sizes_mib, strict=True)
    return LogFacts(
        ready=True,
        buffers=tuple(
            Buffer(device=device, phase=phase, n_bytes=mib * MIB) for phase, mib in held
        ),
    )


def table(*parts_mib: int, device: str = "Vulkan0") -> LogFacts:
    """A row of the memory table."""
    model, context, compute = (mib * MIB for mib in parts_mib)
    row = BreakdownRow(
        device=device,
        total_bytes=None,
        free_bytes=None,
        model_bytes=model,
        context_bytes=context,
        compute_bytes=compute,
    )
    return LogFacts(ready=True, breakdown=(row,))


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (buffers(300, 100, 60), Outcome.FITS),
        (buffers(300, 100, 70), Outcome.SPILLED),
        # Reserved again, in the place of the first.
        (buffers(300, 60, 60, 60), Outcome.FITS),
        (table(300, 100, 60), Outcome.FITS),
        (table(300, 100, 70), Outcome.SPILLED),
        (table(300, 70, 10, device="Vulkan1"), Outcome.SPILLED),
        # The host's are not a device's.
        (buffers(3000, 100, 70, device="CPU"), Outcome.FITS),
        (buffers(3000, 100, 70, device="Vulkan_Host"), Outcome.FITS),
    ],
)
def test_a_device_cannot_hold_more_than_it_has(
    facts: LogFacts, outcome: Outcome
) -> None:
    """More than what was free and 64 MiB lies elsewhere, however well it runs."""
    verdict = judged(replace(FITS, facts=facts))
    assert verdict.outcome is outcome
    if outcome is Outcome.SPILLED:
        assert outcome.says_size
        assert not outcome.is_oom
        assert verdict.device is not None
        assert f"of {verdict.device}, which had" in verdict.evidence[0]
        assert verdict.device in (advice(verdict) or "")


def test_two_rpc_devices_are_two() -> None:
    """Their buffers have one name, but for the endpoint."""
    names = ("RPC0[a:1]", "RPC0[b:1]")
    machine = replace(
        MACHINE,
        devices=tuple(
            replace(device, name=f"RPC{i}", buffer_type=name)
            for i, (device, name) in enumerate(zip(MACHINE.devices, names, strict=True))
        ),
    )
    held = [b for n in names for b in buffers(200, 50, 10, device=n).buffers]
    seen = replace(FITS, facts=LogFacts(ready=True, buffers=tuple(held)))
    assert judge(seen, machine, Proof.FULL).outcome is Outcome.FITS


def test_memory_that_came_free_meanwhile_is_no_spill() -> None:
    """Another process ended while this one loaded."""
    facts = table(400, 100, 60)
    after = replace(FITS, facts=facts, free_after_bytes=(600 * MIB, 300 * MIB))
    assert judged(after).outcome is Outcome.FITS


def test_a_speed_that_collapses_is_a_spill() -> None:
    """Under a fifth of what the other launches make one expect."""
    fits = Verdict(outcome=Outcome.FITS)

    def looked_at(measured: float, verdict: Verdict = fits) -> Verdict:
        return spilled(
            verdict, what="decode", measured=measured, predicted=100, reference=0.5
        )

    assert looked_at(10.0) == fits
    assert looked_at(9.9).outcome is Outcome.SPILLED
    assert (
        looked_at(9.9)
        .evidence[0]
        .startswith("decode at 9.9 tokens/s where 50.0 were to be expected")
    )
    oom = Verdict(outcome=Outcome.OOM_IN_USE)
    assert looked_at(0.1, oom) == oom
