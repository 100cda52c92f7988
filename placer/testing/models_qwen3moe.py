"""qwen3moe: experts in every layer, and no shared one."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, TypeOf, all_f16
from placer.testing.models_vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3MoeShape:
    """Hyperparameters under llama.cpp's names (src/llama-hparams.h)."""

    n_layer: int = 4
    n_embd: int = 256
    n_ff_exp: int = 128
    n_expert: int = 8
    n_expert_used: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_embd_head: int = 64
    n_vocab: int = 512
    n_ctx_train: int = 131_072


def qwen3moe(shape: Qwen3MoeShape, type_of: TypeOf = all_f16) -> Blueprint:
    """A mixture of experts of this shape (src/models/qwen3moe.cpp)."""
    draft = Draft(architecture="qwen3moe", type_of=type_of)
    draft.says(
        block_count=shape.n_layer,
        context_length=shape.n_ctx_train,
        embedding_length=shape.n_embd,
        feed_forward_length=shape.n_ff_exp * shape.n_expert_used,
        expert_feed_forward_length=shape.n_ff_exp,
        expert_count=shape.n_expert,
        expert_used_count=shape.n_expert_used,
        attention__head_count=shape.n_head,
        attention__head_count_kv=shape.n_head_kv,
        attention__key_length=shape.n_embd_head,
        attention__value_length=shape.n_embd_head,
        attention__layer_norm_rms_epsilon=1e-6,
        rope__dimension_count=shape.n_embd_head,
        rope__freq_base=1_000_000.0,
    )
    draft.has_embeddings(shape.n_embd, shape.n_vocab)
    for index in range(shape.n_layer):
        _layer(draft, shape, f"blk.{index}.")
    return draft.finished(Vocabulary(n_tokens=shape.n_vocab))


def _layer(draft: Draft, shape: Qwen3MoeShape, blk: str) -> None:
    n_embd, n_ff_exp, n_expert = shape.n_embd, shape.n_ff_exp, shape.n_expert
    n_embd_q = shape.n_head * shape.n_embd_head
    n_embd_kv = shape.n_head_kv * shape.n_embd_head
    draft.has(blk + "attn_norm", n_embd)
    draft.has(blk + "attn_q", n_embd, n_embd_q)
    draft.has(blk + "attn_q_norm", shape.n_embd_head)
    draft.has(blk + "attn_k", n_embd, n_embd_kv)
    draft.has(blk + "attn_k_norm", shape.n_embd_head)
    draft.has(blk + "attn_v", n_embd, n_embd_kv)
    draft.has(blk + "attn_output", n_embd_q, n_embd)
    draft.has(blk + "ffn_norm", n_embd)
    draft.has(blk + "ffn_gate_inp", n_embd, n_expert)
    draft.has(blk + "ffn_gate_exps", n_embd, n_ff_exp, n_expert)
    draft.has(blk + "ffn_down_exps", n_ff_exp, n_embd, n_expert)
    draft.has(blk + "ffn_up_exps", n_embd, n_ff_exp, n_expert)
