"""The shapes and tensor types of the big models that phantoms stand for.

Shapes are those of the published files. Which type each tensor has is known for the
plain files; for the two UD files it was chosen so that the whole file, and the weights
that a user saw on each of two GPUs, come out within 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from placer.testing.models_deepseek2 import Deepseek2Shape, deepseek2
from placer.testing.models_gpt_oss import GptOssShape, gpt_oss
from placer.testing.models_qwen3next import Qwen3NextShape, qwen3next

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from placer.testing.models_blueprint import Blueprint, TypeOf

GLM_4_7_FLASH: Final = Deepseek2Shape(
    n_layer=47,
    n_layer_dense_lead=1,
    n_embd=2048,
    n_ff=10_240,
    n_ff_exp=1536,
    n_expert=64,
    n_expert_used=4,
    n_expert_shared=1,
    n_head=20,
    n_lora_q=768,
    n_lora_kv=512,
    n_rot=64,
    n_embd_head_k_mla=256,
    n_embd_head_v_mla=256,
    n_vocab=154_880,
    n_ctx_train=202_752,
)
GPT_OSS_120B: Final = GptOssShape(
    n_layer=36,
    n_embd=2880,
    n_ff_exp=2880,
    n_expert=128,
    n_expert_used=4,
    n_head=64,
    n_head_kv=8,
    n_embd_head=64,
    n_swa=128,
    n_vocab=201_088,
    n_ctx_train=131_072,
)
QWEN3_CODER_NEXT: Final = Qwen3NextShape(
    n_layer=48,
    full_attention_interval=4,
    n_embd=2048,
    n_ff=5120,
    n_ff_exp=512,
    n_ff_shexp=512,
    n_expert=512,
    n_expert_used=10,
    n_head=16,
    n_head_kv=2,
    n_embd_head=256,
    n_rot=64,
    ssm_d_conv=4,
    ssm_d_state=128,
    ssm_n_group=16,
    ssm_dt_rank=32,
    n_vocab=151_936,
    n_ctx_train=262_144,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A big model, to be written as header and hole.

    Attributes:
        blueprint: makes metadata and tensor table, on demand.
        size_bytes: of the published file or files, as published or as users saw it.
        max_shard_bytes: of tensor data in one file; ``None`` for a single file.
        first_shard_empty: the first file has the metadata and no tensors.
    """

    blueprint: Callable[[], Blueprint]
    size_bytes: int
    max_shard_bytes: int | None = None
    first_shard_empty: bool = False


def _all_q8_0(_name: str, _dims: tuple[int, ...]) -> str:
    return "Q8_0"


def _glm_q4_k_m(name: str, dims: tuple[int, ...]) -> str:
    """llama-quantize's Q4_K_M, with the shared experts kept at Q8_0."""
    if dims[0] % 256:  # attn_k_b: no K-quant divides rows of 192
        return "Q5_0"
    if "_shexp." in name:
        return "Q8_0"
    more = "ffn_down" in name and _has_more_bits(_layer(name), GLM_4_7_FLASH.n_layer)
    return "Q6_K" if more or name == "output.weight" else "Q4_K"


def _has_more_bits(layer: int, n_layer: int) -> bool:
    """``use_more_bits``, src/llama-quant.cpp."""
    eighth = n_layer // 8
    outer = layer < eighth or layer >= 7 * n_layer // 8
    return outer or (layer - eighth) % 3 == 2


def _gpt_oss_f16(name: str, _dims: tuple[int, ...]) -> str:
    return "MXFP4" if "_exps." in name else "F16"


def _qwen_ud(
    experts: str, better: str, layers: frozenset[int], rest: str, output: str
) -> TypeOf:
    """``better`` for the down projections of some layers, ``experts`` for others."""

    def type_of(name: str, _dims: tuple[int, ...]) -> str:
        if name == "output.weight":
            return output
        if "_exps." not in name:
            return rest
        return better if "_down_" in name and _layer(name) in layers else experts

    return type_of


def _layer(name: str) -> int:
    return int(name.split(".")[1])


_UD_Q5_K_XL: Final = _qwen_ud(
    "Q5_K", "Q6_K", frozenset({*range(10), *range(32, 48)}), "Q5_K", "Q6_K"
)
_UD_Q6_K_XL: Final = _qwen_ud("Q6_K", "Q8_0", frozenset(range(29, 48)), "Q8_0", "Q8_0")

#: By file name, less ``.gguf`` and the number of the shard.
PHANTOMS: Final[Mapping[str, Phantom]] = MappingProxyType(
    {
        "GLM-4.7-Flash-Q4_K_M": Phantom(
            blueprint=partial(deepseek2, GLM_4_7_FLASH, _glm_q4_k_m),
            size_bytes=18_312_339_776,
        ),
        "GLM-4.7-Flash-Q8_0": Phantom(
            blueprint=partial(deepseek2, GLM_4_7_FLASH, _all_q8_0),
            size_bytes=31_840_000_000,
        ),
        "gpt-oss-120b-F16": Phantom(
            blueprint=partial(gpt_oss, GPT_OSS_120B, _gpt_oss_f16),
            size_bytes=65_369_017_728,
        ),
        "Qwen3-Coder-Next-UD-Q5_K_XL": Phantom(
            blueprint=partial(qwen3next, QWEN3_CODER_NEXT, _UD_Q5_K_XL),
            size_bytes=56_840_000_000,
            max_shard_bytes=50_000_000_000,
            first_shard_empty=True,
        ),
        "Qwen3-Coder-Next-UD-Q6_K_XL": Phantom(
            blueprint=partial(qwen3next, QWEN3_CODER_NEXT, _UD_Q6_K_XL),
            size_bytes=68_580_000_000,
            max_shard_bytes=50_000_000_000,
        ),
    }
)
