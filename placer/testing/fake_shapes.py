"""Model shapes and machines made of sizes alone, for tests that need no file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from placer.gguf import GGUFFile, Tensor
from placer.machine import Device, Machine
from placer.model import LayerShape, ModelShape
from placer.model.hparams import Hparams
from placer.units import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.gguf import MetadataValue

ARCHITECTURE = "fake"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLayer:
    """What a layer weighs, in KiB; ``kv_heads`` of 32 elements keep its context."""

    dense_kib: int = 1024
    expert_kib: int = 0
    kv_heads: int = 1
    is_swa: bool = False


def fake_shape(layers: Sequence[FakeLayer], *, output_kib: int = 1024) -> ModelShape:
    """A model of these layers; the vocabulary is 1000 tokens, the width 64.

    Its architecture has no graph: nothing is known of its compute buffers.
    """
    return ModelShape(
        architecture=ARCHITECTURE,
        name="fake",
        hparams=_hparams(len(layers)),
        layers=tuple(_layer(i, layer) for i, layer in enumerate(layers)),
        n_layer_nextn=0,
        shared_tensors=(),
        input_tensors=(_tensor("token_embd.weight", output_kib),),
        output_tensors=(
            _tensor("output_norm.weight", 1),
            _tensor("output.weight", output_kib),
        ),
        n_embd=64,
        n_vocab=1000,
        n_ff=128,
        n_expert=8 if any(layer.expert_kib for layer in layers) else 0,
        n_expert_used=2,
        context_length=1 << 20,
        n_swa=128,
        is_mla=False,
        cache_unknown=None,
    )


def _hparams(n_layer: int) -> Hparams:
    path = Path("fake.gguf")
    metadata: dict[str, MetadataValue] = {
        "general.architecture": ARCHITECTURE,
        f"{ARCHITECTURE}.block_count": n_layer,
    }
    return Hparams(
        GGUFFile(
            path=path,
            shards=(path,),
            version=3,
            byte_order="little",
            metadata=metadata,
            tensors=(),
            size_bytes=0,
        )
    )


def _layer(index: int, layer: FakeLayer) -> LayerShape:
    blk = f"blk.{index}"
    tensors = [
        _tensor(f"{blk}.attn_norm.weight", 1),
        _tensor(f"{blk}.attn_q.weight", layer.dense_kib),
    ]
    if layer.expert_kib:
        third = layer.expert_kib // 3
        sizes = {"up": third, "gate": third, "down": layer.expert_kib - 2 * third}
        tensors += [
            _tensor(f"{blk}.ffn_{name}_exps.weight", size)
            for name, size in sizes.items()
        ]
    return LayerShape(
        index=index,
        tensors=tuple(tensors),
        n_head=2,
        n_head_kv=layer.kv_heads,
        head_dim_k=32,
        head_dim_v=32,
        has_kv=layer.kv_heads > 0,
        is_swa=layer.is_swa,
        recurrent_elements=0,
    )


def _tensor(name: str, n_kib: int) -> Tensor:
    n_bytes = n_kib * KIB
    return Tensor(
        name=name, dims=(n_bytes,), type_name="I8", offset=0, n_bytes=n_bytes, shard=0
    )


def fake_machine(free_bytes: Sequence[int], *, backend: str = "Vulkan") -> Machine:
    """Devices with so much free."""
    devices = tuple(
        Device(
            name=f"{backend}{index}",
            buffer_type=f"{backend}{index}",
            description="Fake GPU",
            total_bytes=n_bytes,
            free_bytes=n_bytes,
        )
        for index, n_bytes in enumerate(free_bytes)
    )
    return Machine(
        devices=devices,
        engine_build=None,
        host_total_bytes=1 << 40,
        host_free_bytes=1 << 40,
    )
