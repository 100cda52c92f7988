"""What a tensor takes of a buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.gguf import Tensor, row_bytes
from placer.memory.weights import allocated_bytes, tensor_buffers
from placer.placement import Placement, TensorException
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape

if TYPE_CHECKING:
    from placer.model import ModelShape


def tensor(type_name: str, *dims: int) -> Tensor:
    """A tensor of this type and these dimensions."""
    n_bytes = row_bytes(type_name, dims[0])
    for dim in dims[1:]:
        n_bytes *= dim
    return Tensor(
        name="t", dims=dims, type_name=type_name, offset=0, n_bytes=n_bytes, shard=0
    )


@pytest.mark.parametrize(
    ("one", "backend", "n_bytes"),
    [
        # 100 floats are 400 bytes: padded to the backend's alignment.
        (tensor("F32", 100), "CUDA", 512),
        (tensor("F32", 100), "Vulkan", 448),
        (tensor("F32", 100), "CPU", 416),
        # CUDA pads the last row of a quantised tensor to 512 elements, F16 not.
        (tensor("Q8_0", 256, 10), "CUDA", 10 * 272 + 272 + 80),
        (tensor("Q8_0", 256, 10), "Vulkan", 10 * 272 + 32),
        (tensor("Q8_0", 1024, 10), "CUDA", 10 * 1088),
        (tensor("F16", 256, 10), "CUDA", 5120),
        (tensor("Q8_0", 256, 10), "ROCm", 10 * 272 + 272 + 80),
        (tensor("Q8_0", 256, 10), "SYCL", 10 * 272 + 272 + 80),
        (tensor("Q8_0", 256, 10), "MTL", 10 * 272),
    ],
)
def test_backends_pad_in_their_own_way(one: Tensor, backend: str, n_bytes: int) -> None:
    """128 bytes for CUDA, 64 for Vulkan, 32 for the CPU and Metal."""
    assert allocated_bytes(one, backend) == n_bytes


SHAPE = fake_shape([FakeLayer()] * 2)


def tied(shape: ModelShape) -> ModelShape:
    """The same model without an output matrix of its own."""
    return replace(shape, output_tensors=shape.input_tensors)


def where(shape: ModelShape, placement: Placement, name: str) -> list[str]:
    """Every buffer that holds a tensor of this name."""
    placed = tensor_buffers(shape, placement, fake_machine([1, 1]))
    return [buffer for t, buffer in placed if t.name == name]


def test_the_embedding_stays_on_the_cpu() -> None:
    """Whatever is offloaded: llama-model.cpp:1607."""
    assert where(SHAPE, Placement(split=(3, 0)), "token_embd.weight") == ["CPU"]
    assert where(SHAPE, Placement(split=(3, 0)), "output.weight") == ["Vulkan0"]


def test_a_tied_output_is_a_second_copy() -> None:
    """On a device; on the CPU it is the embedding itself."""
    name = "token_embd.weight"
    assert where(tied(SHAPE), Placement(split=(1, 2)), name) == ["CPU", "Vulkan1"]
    assert where(tied(SHAPE), Placement(split=(0, 0)), name) == ["CPU"]


def test_gemma_4_loads_a_tied_output_twice_even_on_the_cpu() -> None:
    """It asks for the output before it has the input: gemma4.cpp:53."""
    shape = replace(tied(SHAPE), architecture="gemma4")
    assert where(shape, Placement(split=(0, 0)), "token_embd.weight") == ["CPU", "CPU"]


def test_an_exception_wins_over_the_layer() -> None:
    """That tensor alone moves."""
    moved = TensorException(tensor="blk.0.attn_q.weight", buffer="Vulkan1")
    placement = Placement(split=(3, 0), exceptions=frozenset({moved}))
    assert where(SHAPE, placement, "blk.0.attn_q.weight") == ["Vulkan1"]
    assert where(SHAPE, placement, "blk.0.attn_norm.weight") == ["Vulkan0"]


def test_factors_of_rotations_are_copied_to_each_device_with_layers() -> None:
    """Once a device, however many layers it has: llama-model-loader.cpp:1371."""
    factors = tensor("F32", 32)
    shape = replace(SHAPE, shared_tensors=(factors,))
    assert where(shape, Placement(split=(2, 1)), "t") == ["Vulkan0"]
    assert where(shape, Placement(split=(1, 2)), "t") == ["Vulkan0", "Vulkan1"]
    assert where(shape, Placement(split=(0, 2)), "t") == ["CPU", "Vulkan1"]
