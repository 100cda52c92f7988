"""KV cache, latent cache and recurrent state, by head."""

from __future__ import annotations

from dataclasses import replace

import pytest

from placer.memory import context_bytes_by_layer, estimate_memory
from placer.memory.context import kv_row_bytes
from placer.placement import Placement, Workload
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape

# Heads of 32 elements, K and V alike; a window of 128 tokens.
SHAPE = fake_shape([FakeLayer(kv_heads=4), FakeLayer(kv_heads=4, is_swa=True)])
ONE_SLOT = Workload(ctx=4096, parallel=1, kv_unified=False)


def context(workload: Workload) -> tuple[int, ...]:
    """Bytes of each of the two layers."""
    by_layer = context_bytes_by_layer(SHAPE, workload)
    assert by_layer is not None
    return by_layer


@pytest.mark.parametrize(
    ("type_name", "n_bytes"),
    [("f32", 512), ("f16", 256), ("q8_0", 136), ("q4_0", 72), ("q5_1", 96)],
)
def test_a_cell_is_a_row_of_the_cache_type(type_name: str, n_bytes: int) -> None:
    """128 elements: blocks of 32 with their scales."""
    assert kv_row_bytes(type_name, 128) == n_bytes


def test_a_full_layer_keeps_every_cell() -> None:
    """4096 cells of 256 bytes, for keys and for values."""
    assert context(ONE_SLOT)[0] == 4096 * 256 * 2


def test_keys_and_values_have_their_own_types() -> None:
    """q8_0 keys beside f16 values."""
    mixed = replace(ONE_SLOT, type_k="q8_0")
    assert context(mixed)[0] == 4096 * (136 + 256)


def test_a_window_keeps_itself_and_one_batch() -> None:
    """128 + 512 tokens, padded to 256 cells: llama-kv-cache-iswa.cpp:73."""
    assert context(ONE_SLOT)[1] == 768 * 256 * 2
    assert context(replace(ONE_SLOT, ubatch=128))[1] == 256 * 256 * 2
    # A window is no longer than the context.
    assert context(replace(ONE_SLOT, ctx=256))[1] == 256 * 256 * 2


def test_slots_that_share_a_stream_have_a_window_each() -> None:
    """Four windows in one stream, or four streams with one each."""
    unified = Workload(ctx=8192, parallel=4, kv_unified=True)
    assert context(unified)[1] == 1024 * 256 * 2
    apart = Workload(ctx=8192, parallel=4, kv_unified=False)
    assert context(apart)[1] == 4 * 768 * 256 * 2
    assert context(apart)[0] == context(unified)[0]


def test_a_full_cache_for_windows_can_be_asked_for() -> None:
    """``--swa-full``."""
    full = context(replace(ONE_SLOT, swa_full=True))
    assert full[0] == full[1]


def test_a_latent_has_no_values() -> None:
    """MLA keeps keys alone: llama-kv-cache.cpp:231."""
    by_layer = context_bytes_by_layer(replace(SHAPE, is_mla=True), ONE_SLOT)
    assert by_layer is not None
    assert by_layer[0] == 4096 * 256


def test_a_recurrent_layer_keeps_a_state_for_each_slot() -> None:
    """f32, whatever the context and the cache types."""
    layer = replace(SHAPE.layers[0], has_kv=False, recurrent_elements=1000)
    shape = replace(SHAPE, layers=(layer,))
    for ctx in (256, 8192):
        workload = Workload(ctx=ctx, parallel=3, type_k="q8_0")
        assert context_bytes_by_layer(shape, workload) == (4 * 1000 * 3,)


def test_a_layer_without_attention_keeps_nothing() -> None:
    """No heads, no cache."""
    shape = fake_shape([FakeLayer(kv_heads=0)])
    assert context_bytes_by_layer(shape, ONE_SLOT) == (0,)


def test_what_is_not_known_is_none() -> None:
    """An architecture without a formula is not guessed at."""
    unknown = replace(SHAPE, cache_unknown="no formula")
    assert context_bytes_by_layer(unknown, ONE_SLOT) is None
    machine = fake_machine([1, 1])
    estimate = estimate_memory(unknown, ONE_SLOT, Placement(split=(2, 1)), machine)
    assert [d.context_bytes for d in estimate.devices] == [None, None]
    assert estimate.devices[0].total_bytes > 0


def test_context_follows_the_layer_or_stays_on_the_host() -> None:
    """-ot never moves it; ``--no-kv-offload`` keeps all of it on the CPU."""
    machine = fake_machine([1, 1])
    by_layer = context(ONE_SLOT)
    for placement, expected in (
        (Placement(split=(2, 1)), [sum(by_layer), 0, 0]),
        (Placement(split=(1, 2)), [by_layer[0], by_layer[1], 0]),
        (Placement(split=(0, 2)), [0, by_layer[1], by_layer[0]]),
    ):
        estimate = estimate_memory(SHAPE, ONE_SLOT, placement, machine)
        held = [*estimate.devices, estimate.host]
        assert [d.context_bytes for d in held] == expected
    at_home = replace(ONE_SLOT, kv_offload=False)
    estimate = estimate_memory(SHAPE, at_home, Placement(split=(2, 1)), machine)
    assert [d.context_bytes for d in estimate.devices] == [0, 0]
    assert estimate.host.context_bytes == sum(context(at_home))


def test_without_fused_attention_values_are_as_wide_as_the_widest() -> None:
    """They are stored transposed: llama-kv-cache.cpp:210."""
    shape = fake_shape([FakeLayer(kv_heads=4), FakeLayer(kv_heads=2)])
    by_layer = context_bytes_by_layer(shape, replace(ONE_SLOT, flash_attn="off"))
    assert by_layer == (4096 * (256 + 256), 4096 * (128 + 256))
    fused = context_bytes_by_layer(shape, ONE_SLOT)
    assert fused == (4096 * 2 * 256, 4096 * 2 * 128)


def test_an_index_is_kept_for_the_whole_context() -> None:
    """A second cache, in the types of the first."""
    layer = replace(SHAPE.layers[0], index_k=128, index_v=64)
    shape = replace(SHAPE, layers=(layer,))
    mixed = replace(ONE_SLOT, type_k="q8_0")
    by_layer = context_bytes_by_layer(shape, mixed)
    assert by_layer == (4096 * (136 + 256) + 4096 * (136 + 128),)
