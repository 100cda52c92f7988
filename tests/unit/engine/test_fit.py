from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from placer.engine.fit import FitAnswer, FitLog, fit
from placer.errors import MachineError
from placer.placement import Placement, TensorException
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHAPE = fake_shape([FakeLayer(expert_kib=30)] * 3)
MACHINE = fake_machine([24 * GIB, 12 * GIB], backend="CUDA")
TABLE = """\
common_memory_breakdown_print: | memory breakdown [MiB] | total   free    self |
common_memory_breakdown_print: |   - CUDA0 (a card) | 9 = 9 + (6 = 1 + 2 + 3) + -6 |
common_memory_breakdown_print: |   - CUDA1 (a card) | 9 = 9 + (6 = 1 + 2 + 3) + -6 |
common_memory_breakdown_print: |   - Host           |    6 = 1 + 2 + 3          |
"""
TOOK = "common_fit_params: fitting params to free memory took 1.25 seconds\n"
PLACED = "done_getting_tensors: tensor 'token_embd.weight' (f16) (and 2 others) \
cannot be used with preferred buffer type CUDA_Host, using CPU instead\n"


def layers(*devices: str) -> str:
    """What a load says of its layers, the output as the last."""
    return "".join(
        f"load_tensors: layer {i:3} assigned to device {device}, is_swa = 0\n"
        for i, device in enumerate(devices)
    )


def moved(tensor: str, buffer: str) -> str:
    """What a load says of a tensor that a pattern matches."""
    return f"tensor {tensor} (537 MiB mxfp4) buffer type overridden to {buffer}\n"


def answer_of(log: str) -> FitAnswer | None:
    """What a log comes to."""
    said = FitLog()
    for line in log.splitlines():
        said.feed(line)
    return said.answer(SHAPE, MACHINE)


def placed(log: str) -> Placement:
    """The placement of a log that has one."""
    answer = answer_of(log)
    assert answer is not None
    return answer.placement


@pytest.mark.parametrize("buffer", ["CPU", "CUDA_Host", "CPU_REPACK", "AMX"])
def test_every_buffer_of_the_host_is_the_cpus(buffer: str) -> None:
    """``-ot`` to the CPU is said as the buffer that the CPU prefers."""
    experts = "blk.1.ffn_up_exps.weight"
    load = layers("CUDA0", "CUDA0", "CUDA1", "CUDA1") + moved(experts, buffer)
    found = placed(TOOK + load + PLACED)

    assert found.split == (2, 2)
    assert found.exceptions == {TensorException(tensor=experts, buffer="CPU")}
    assert not found.unpipelined


def test_a_tensor_that_is_sent_home_is_no_exception() -> None:
    """But any pattern switches pipelining off, and so does one that matches nothing."""
    load = layers("CPU", "CUDA0", "CUDA1", "CUDA1")
    home = moved("blk.0.ffn_up_exps.weight", "CUDA_Host")
    overflowing = "  - CUDA0 (a card):  2 layers ( 1 overflowing),  1 MiB used\n"

    for log in (TOOK + load + home + PLACED, overflowing + TOOK + load + PLACED):
        found = placed(log)
        assert found.split == (1, 2)
        assert found.exceptions == frozenset()
        assert found.unpipelined
    none = overflowing.replace("( 1 over", "( 0 over")
    assert not placed(none + TOOK + load + PLACED).unpipelined


@pytest.mark.parametrize(
    "end",
    [
        PLACED,
        "load_tensors: offloading output layer to GPU\n",
        "load_tensors: offloaded 4/4 layers to GPU\n",
        "load_tensors:        CUDA0 model buffer size = 17001.50 MiB\n",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer\n",
    ],
)
def test_a_load_is_complete_once_tensors_have_their_place(end: str) -> None:
    """What is said before the fit has ended, and after that, does not count."""
    trial = layers(*["CUDA1"] * 4) + moved("blk.0.attn_q.weight", "CUDA0") + end
    load = layers(*["CUDA0"] * 4)
    draft = layers("CPU", "CPU", "CPU", "CPU") + PLACED

    assert placed(trial + TOOK + load + end + draft).split == (4, 0)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "error: invalid argument: --fit\n",
        layers(*["CUDA0"] * 4) + PLACED,
        TOOK + layers(*["CUDA0"] * 4),
        TOOK + layers(*["CUDA0"] * 3) + PLACED,
        TOOK + layers(*["CUDA0"] * 5) + PLACED,
        TOOK + PLACED,
    ],
)
def test_half_an_answer_is_none(log: str) -> None:
    """No end of the fit, no end of the load, or layers of another model."""
    assert answer_of(log) is None


def test_defaults_that_do_are_no_change() -> None:
    """With one device or more; the time is the engine's."""
    load = layers(*["CUDA0"] * 4) + PLACED
    for said in (
        "common_params_fit_impl: will leave 9 >= 8 MiB of free device memory,",
        "common_params_fit_impl: targets for free memory can be met on all devices,",
    ):
        answer = answer_of(f"{said} no changes needed\n{TOOK}{load}")
        assert answer == FitAnswer(
            placement=Placement(split=(4, 0)), seconds=1.25, changed=False
        )


@pytest.mark.parametrize(
    "words",
    [
        "failed to fit params to free device memory: -ts already set by user, abort",
        "encountered an error while trying to fit params to free device memory: why",
    ],
)
def test_a_failure_is_passed_on_in_the_engines_words(words: str) -> None:
    """It loads all the same, and where is told."""
    said = f"0.00.067 W common_fit_params: {words}\n"
    answer = answer_of(said + TOOK + layers("CPU", "CPU", "CUDA0", "CUDA1") + PLACED)

    assert answer is not None
    assert answer.message == words
    assert not answer.changed
    assert answer.placement.split == (1, 1)


@dataclass(slots=True)
class Canned:
    """A runner, and the engine it starts, that says one thing and never ends."""

    said: str
    args: list[str] = field(default_factory=list)
    is_stopped: bool = False
    pid: int | None = None
    base_url: str = ""
    log_path: Path = field(init=False)

    def start(self, args: Sequence[str], *, log_path: Path) -> Canned:
        self.args, self.log_path = [*args], log_path
        log_path.write_text(self.said)
        return self

    def exit_code(self) -> int | None:
        return None

    def stop(self) -> int:
        self.is_stopped = True
        return 0


def asked(engine: Canned, log_path: Path) -> FitAnswer | None:
    """What fitting with this engine comes to."""
    machine = MACHINE.only(["CUDA0", "CUDA1"])
    args, margins = ("-c", "4096"), [MIB, 2 * MIB + 1]
    return fit(engine, args, SHAPE, machine, margins, log_path=log_path)


def test_the_engine_is_stopped_before_it_reads(tmp_path: Path) -> None:
    """It is asked for whole MiB on the devices that were chosen."""
    engine = Canned(TABLE + TOOK + layers(*["CUDA0"] * 4) + PLACED)
    answer = asked(engine, tmp_path / "fit.log")

    assert answer is not None
    assert engine.is_stopped
    assert " ".join(engine.args) == "-c 4096 -dev CUDA0,CUDA1 --fit on -fitt 1,3 -v"


def test_a_device_that_is_left_out_is_named(tmp_path: Path) -> None:
    """A placement of fewer devices would be read as one of all of them."""
    table = "\n".join(row for row in TABLE.splitlines() if "CUDA1" not in row) + "\n"
    engine = Canned(table + TOOK + layers(*["CUDA0"] * 4) + PLACED)

    with pytest.raises(MachineError, match="uses CUDA0 of CUDA0, CUDA1"):
        asked(engine, tmp_path / "fit.log")
    assert engine.is_stopped
