from __future__ import annotations

import pytest

from placer.engine.dryrun import apart, estimate_of
from placer.engine.log import read_log
from placer.testing.fake_shapes import fake_machine
from placer.units import MIB


def measured(context: int, compute: float, host: float) -> str:
    """What the engine logs when it has measured one context, all in MiB."""
    model, rest = 54851, f"{context} + {int(compute)}"
    own = model + context + int(compute)
    return f"""\
sched_reserve:    Vulkan0 compute buffer size = {compute:8.2f} MiB
sched_reserve: Vulkan_Host compute buffer size = {host:8.2f} MiB
| memory breakdown [MiB]  |  total     free     self   model   context   compute |
|   - Vulkan0 (a card)    | 200000 = 200000 + ({own} = {model} + {rest}) + 0 |
|   - Host                |   {629 + int(host)} = 629 + 0 + {int(host)}   |
"""


MODEL = measured(3072, 330.05, 144.07)
DRAFTS = measured(128, 244.05, 96.05)
FOLLOWS = "operator(): getting device memory data for the extra model at a context\n"
BEFORE = "load_model: [spec] estimated memory usage of MTP context is 372.05 MiB\n"
ENDS = "common_fit_params: fitting params to free memory took 0.43 seconds\n"


@pytest.mark.parametrize(
    "log", [MODEL + FOLLOWS + DRAFTS + ENDS, DRAFTS + BEFORE + MODEL + ENDS]
)
def test_the_context_of_drafts_is_not_taken_for_the_models(log: str) -> None:
    """Build 11434 measures it last, older ones first; the tables look the same."""
    machine = fake_machine([200_000 * MIB])
    own, drafts = (
        estimate_of(read_log(lines), machine) for lines in apart(log.splitlines())
    )

    assert own is not None
    assert drafts is not None
    assert own.devices[0].context_bytes == 3072 * MIB
    assert own.host.compute_bytes == 144 * MIB
    assert drafts.devices[0].context_bytes == 128 * MIB
    assert round((drafts.devices[0].compute_bytes or 0) / MIB, 2) == 244.05


def test_a_log_without_drafting_is_all_of_the_models() -> None:
    """Nothing is set apart."""
    lines = (MODEL + ENDS).splitlines()
    assert apart(lines) == (lines, [])
