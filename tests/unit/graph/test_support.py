"""Which devices fuse which attention."""

from __future__ import annotations

import pytest

from placer.graph import ops
from placer.graph.support import supports

N_TOKENS, N_CELLS = 512, 4096


def fused(
    head_k: int, head_v: int, n_head: int, n_head_kv: int, kind: str = "F16"
) -> bool:
    """Whether CUDA takes attention with these heads over a cache of this type."""
    q = ops.leaf("F32", head_k, N_TOKENS, n_head)
    k = ops.leaf(kind, head_k, N_CELLS, n_head_kv)
    v = ops.leaf(kind, head_v, N_CELLS, n_head_kv)
    mask = ops.leaf("F16", N_CELLS, N_TOKENS)
    return supports("CUDA", ops.flash_attn_ext(q, k, v, mask))


@pytest.mark.parametrize(
    ("heads", "is_fused"),
    [
        # GLM-4.7-Flash and DeepSeek V3 on their latents: all heads share one key.
        ((576, 512, 20, 1), True),
        ((576, 512, 128, 1), True),
        ((576, 512, 1, 1), False),
        # DeepSeek V2 without absorption: every head has keys of its own.
        ((192, 128, 16, 16), False),
        ((192, 128, 64, 8), True),
        ((192, 128, 64, 16), False),
        ((192, 192, 64, 8), False),
        ((320, 256, 32, 1), True),
        ((320, 256, 16, 1), False),
        ((128, 128, 32, 32), True),
        ((100, 100, 32, 8), False),
    ],
)
def test_cuda_fuses_wide_heads_where_queries_share_keys(
    heads: tuple[int, int, int, int], *, is_fused: bool
) -> None:
    """CUDA has kernels for wide heads only where enough query heads share a key."""
    assert fused(*heads) is is_fused


def test_cuda_does_not_fuse_what_it_cannot_read() -> None:
    """A cache of a type without a kernel is not attended to in one node."""
    assert fused(128, 128, 32, 8, "Q8_0")
    assert not fused(128, 128, 32, 8, "IQ4_NL")
