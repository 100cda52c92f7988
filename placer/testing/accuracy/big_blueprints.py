"""Models of published shape whose architectures tests have blueprints of."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from placer.testing.models_deepseek2 import Deepseek2Shape, deepseek2
from placer.testing.models_gpt_oss import GptOssShape, gpt_oss
from placer.testing.models_qwen3moe import Qwen3MoeShape, qwen3moe
from placer.testing.phantom_shapes import PHANTOMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from placer.testing.models_blueprint import Blueprint

QWEN3_235B_A22B: Final = Qwen3MoeShape(
    n_layer=94,
    n_embd=4096,
    n_ff_exp=1536,
    n_expert=128,
    n_expert_used=8,
    n_head=64,
    n_head_kv=4,
    n_embd_head=128,
    n_vocab=151_936,
    n_ctx_train=40_960,
)
DEEPSEEK_V3: Final = Deepseek2Shape(
    n_layer=61,
    n_layer_dense_lead=3,
    n_embd=7168,
    n_ff=18_432,
    n_ff_exp=2048,
    n_expert=256,
    n_expert_used=8,
    n_expert_shared=1,
    n_head=128,
    n_lora_q=1536,
    n_lora_kv=512,
    n_rot=64,
    n_embd_head_k_mla=192,
    n_embd_head_v_mla=128,
    n_vocab=129_280,
    n_ctx_train=163_840,
)
GPT_OSS_20B: Final = GptOssShape(
    n_layer=24,
    n_embd=2880,
    n_ff_exp=2880,
    n_expert=32,
    n_expert_used=4,
    n_head=64,
    n_head_kv=8,
    n_embd_head=64,
    n_swa=128,
    n_vocab=201_088,
    n_ctx_train=131_072,
)


def _q4_k(name: str, dims: tuple[int, ...]) -> str:
    """Q4_K where its blocks divide the rows, else Q8_0."""
    return "Q8_0" if dims[0] % 256 or name == "output.weight" else "Q4_K"


def _mxfp4(name: str, _dims: tuple[int, ...]) -> str:
    return "MXFP4" if "_exps." in name else "Q8_0"


BLUEPRINTS: Final[Mapping[str, Callable[[], Blueprint]]] = MappingProxyType(
    {
        "Qwen3-235B-A22B": partial(qwen3moe, QWEN3_235B_A22B, _q4_k),
        "DeepSeek-V3": partial(deepseek2, DEEPSEEK_V3, _q4_k),
        "gpt-oss-20b": partial(gpt_oss, GPT_OSS_20B, _mxfp4),
        **{
            name: PHANTOMS[name].blueprint
            for name in (
                "GLM-4.7-Flash-Q4_K_M",
                "gpt-oss-120b-F16",
                "Qwen3-Coder-Next-UD-Q5_K_XL",
            )
        },
    }
)
