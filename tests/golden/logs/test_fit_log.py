"""A log of ``--fit on -v``: what it tried, and what it came to.

Printed by b10434 for a model of four layers with experts on emulated devices of 70 and
90 MiB, 20 and 40 of them to be left free; cut to two of its trials and the load.
"""

from __future__ import annotations

from pathlib import Path

from placer.engine.fit import FitLog
from placer.engine.log import read_log
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

LOG = Path(__file__).parent / "vulkan-b10434-fit.log"


def test_the_load_behind_the_fit_is_the_answer() -> None:
    """The trials had other splits; the first layer overflows to the next device."""
    said = FitLog()
    for line in LOG.read_text("utf-8").splitlines():
        said.feed(line)
    answer = said.answer(
        fake_shape([FakeLayer(expert_kib=48 * 1024)] * 4),
        fake_machine([70 * MIB, 90 * MIB]),
    )

    assert answer is not None
    assert answer.seconds == 0.10
    assert answer.changed
    assert answer.message is None
    assert answer.placement.split == (4, 1)
    buffers = {e.tensor: e.buffer for e in answer.placement.exceptions}
    assert {name for name, buffer in buffers.items() if buffer == "Vulkan1"} == {
        "blk.0.ffn_gate_inp.weight",
        "blk.0.ffn_gate_exps.weight",
        "blk.0.ffn_down_exps.weight",
    }
    assert {name for name, buffer in buffers.items() if buffer == "CPU"} == {
        f"blk.{layer}.ffn_{part}_exps.weight"
        for layer in (1, 2, 3)
        for part in ("gate", "down", "up")
    }


def test_the_tables_of_the_trials_are_kept() -> None:
    """They say which devices the engine uses."""
    said = FitLog()
    for line in LOG.read_text("utf-8").splitlines():
        said.feed(line)
    rows = read_log(said.table_lines).breakdown
    assert [row.device for row in rows] == ["Vulkan0", "Vulkan1", "Host"]
