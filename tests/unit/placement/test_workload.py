"""What is asked of a server, and its flags."""

from __future__ import annotations

from typing import Any

import pytest

from placer.errors import InputError
from placer.placement import KV_TYPES, Workload


@pytest.mark.parametrize(
    ("workload", "n_ctx_seq", "n_stream"),
    [
        (Workload(ctx=131072), 131072, 1),
        (Workload(ctx=1000), 1024, 1),
        (Workload(ctx=131072, parallel=4, kv_unified=False), 32768, 4),
        (Workload(ctx=1000, parallel=3, kv_unified=False), 512, 3),
        (Workload(ctx=1, parallel=4, kv_unified=False), 256, 4),
    ],
)
def test_cells_are_padded_to_256(
    workload: Workload, n_ctx_seq: int, n_stream: int
) -> None:
    """One stream for all slots where the cache is unified, else one each."""
    assert workload.n_ctx_seq == n_ctx_seq
    assert workload.n_stream == n_stream


def test_a_physical_batch_is_no_larger_than_the_logical() -> None:
    """-ub above -b is cut."""
    assert Workload(ctx=256, batch=512, ubatch=2048).n_ubatch == 512
    assert Workload(ctx=256, batch=2048, ubatch=512).n_ubatch == 512


def test_every_flag_is_explicit() -> None:
    """So that the engine's defaults, which change, decide nothing."""
    assert Workload(ctx=4096, type_k="q8_0", type_v="q8_0").args() == [
        *("-c", "4096", "-b", "2048", "-ub", "512", "-np", "4", "-kvu"),
        *("-ctk", "q8_0", "-ctv", "q8_0", "-fa", "auto"),
    ]
    unusual = Workload(
        ctx=4096, kv_unified=False, swa_full=True, kv_offload=False, op_offload=False
    ).args()
    for flag in ("-no-kvu", "--swa-full", "-nkvo", "--no-op-offload"):
        assert flag in unusual


@pytest.mark.parametrize(
    "values",
    [
        {"ctx": 0},
        {"ctx": -1},
        {"ctx": 1 << 31},
        {"batch": 0},
        {"ubatch": 0},
        {"parallel": 0},
        {"type_k": "q9_0"},
        {"type_v": "F16"},
        {"flash_attn": "yes"},
    ],
)
def test_what_the_engine_would_refuse_is_refused(values: dict[str, Any]) -> None:
    """Before anything is launched."""
    with pytest.raises(InputError):
        Workload(**{"ctx": 4096, **values})


def test_every_cache_type_of_the_engine_is_known() -> None:
    """arg.cpp:305."""
    for name in KV_TYPES:
        assert Workload(ctx=256, type_k=name, type_v=name).type_k == name
