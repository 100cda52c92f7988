from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.placement import Workload


@pytest.mark.parametrize(
    ("ctx", "parallel", "unified", "cells", "streams"),
    [
        (4096, 4, True, 4096, 1),
        (4096, 4, False, 1024, 4),
        (1025, 4, False, 512, 4),
        (1000, 1, False, 1024, 1),
        (100, 4, True, 256, 1),
        (3000, 3, False, 1024, 3),
    ],
)
def test_cells_are_padded_as_the_engine_pads_them(
    ctx: int, parallel: int, *, unified: bool, cells: int, streams: int
) -> None:
    """The context to 256 first, then each stream's share: llama-context.cpp:288."""
    workload = Workload(ctx=ctx, parallel=parallel, kv_unified=unified)

    assert (workload.n_ctx_seq, workload.n_stream) == (cells, streams)


@pytest.mark.parametrize(
    "values",
    [
        {"ctx": 0},
        {"ctx": 2**31},
        {"ctx": 512, "batch": -1},
        {"ctx": 512, "type_k": "q9"},
        {"ctx": 512, "flash_attn": "maybe"},
    ],
)
def test_what_the_engine_would_refuse_is_an_input_error(
    values: dict[str, int | str],
) -> None:
    """Each with a hint of what to give instead."""
    with pytest.raises(InputError) as caught:
        Workload(**values)  # type: ignore[arg-type]

    assert caught.value.hint is not None


def test_the_flags_say_everything() -> None:
    """What is not the engine's default has its flag, and the rest is explicit."""
    workload = Workload(
        ctx=512, parallel=2, kv_unified=False, kv_offload=False, op_offload=False
    )
    args = workload.args()

    assert args[:8] == ["-c", "512", "-b", "2048", "-ub", "512", "-np", "2"]
    assert {"-no-kvu", "-nkvo", "--no-op-offload"} <= set(args)
