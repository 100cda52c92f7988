from __future__ import annotations

from placer.engine.judge import Outcome, judge
from placer.engine.log import read_log
from placer.engine.observation import Observation, Proof, Stage
from placer.machine import Device, Machine
from placer.units import MIB

CARD = Device(
    name="CUDA0",
    buffer_type="CUDA0",
    description="a card",
    total_bytes=400 * MIB,
    free_bytes=300 * MIB,
)
MACHINE = Machine(
    devices=(CARD,), engine_build=None, host_total_bytes=0, host_free_bytes=0
)


def verdict_on(buffer: str) -> Outcome:
    """The verdict on a load that ended where a buffer was not given."""
    lines = [
        f"E alloc_tensor_range: failed to allocate {buffer} buffer of size 6871947",
        (
            "E llama_model_load: error loading model: unable to allocate "
            f"{buffer} buffer"
        ),
    ]
    seen = Observation(
        stage=Stage.STARTED,
        exit_code=1,
        stalled=False,
        answer_error=None,
        facts=read_log(lines),
        free_bytes=(300 * MIB,),
    )
    return judge(seen, MACHINE, Proof.FULL).outcome


def test_a_buffer_of_the_host_says_nothing_about_a_device() -> None:
    """RAM that runs out is told apart from VRAM: no device is blamed."""
    assert verdict_on("CPU") is Outcome.HOST_MEMORY
    assert verdict_on("CUDA_Host") is Outcome.HOST_MEMORY
    assert not Outcome.HOST_MEMORY.is_oom


def test_a_buffer_of_a_device_is_the_devices() -> None:
    """The same words about a card are an out-of-memory of the card."""
    assert verdict_on("CUDA0") is Outcome.OOM_WEIGHTS
