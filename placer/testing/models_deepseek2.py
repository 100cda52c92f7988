"""deepseek2: latent attention, dense layers first, experts with a shared one after."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, TypeOf, all_f16
from placer.testing.models_vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Deepseek2Shape:
    """Hyperparameters under llama.cpp's names (src/llama-hparams.h).

    ``n_embd_head_k_mla`` and ``n_embd_head_v_mla`` are the head sizes before they are
    folded into the latent; what is cached is ``n_lora_kv + n_rot`` a token and layer.
    """

    n_layer: int = 4
    n_layer_dense_lead: int = 1
    n_embd: int = 256
    n_ff: int = 512
    n_ff_exp: int = 128
    n_expert: int = 8
    n_expert_used: int = 2
    n_expert_shared: int = 1
    n_head: int = 4
    n_lora_q: int = 96
    n_lora_kv: int = 64
    n_rot: int = 32
    n_embd_head_k_mla: int = 96
    n_embd_head_v_mla: int = 64
    n_vocab: int = 512
    n_ctx_train: int = 131_072


def deepseek2(shape: Deepseek2Shape, type_of: TypeOf = all_f16) -> Blueprint:
    """A model of this shape (src/models/deepseek2.cpp)."""
    draft = Draft(architecture="deepseek2", type_of=type_of)
    draft.says(
        block_count=shape.n_layer,
        context_length=shape.n_ctx_train,
        embedding_length=shape.n_embd,
        feed_forward_length=shape.n_ff,
        leading_dense_block_count=shape.n_layer_dense_lead,
        vocab_size=shape.n_vocab,
        attention__layer_norm_rms_epsilon=1e-5,
        rope__dimension_count=shape.n_rot,
        rope__freq_base=1_000_000.0,
    )
    _say_latent(draft, shape)
    _say_experts(draft, shape)
    draft.has_embeddings(shape.n_embd, shape.n_vocab)
    for index in range(shape.n_layer):
        blk = f"blk.{index}."
        _attention(draft, shape, blk)
        if index < shape.n_layer_dense_lead:
            draft.has(blk + "ffn_gate", shape.n_embd, shape.n_ff)
            draft.has(blk + "ffn_down", shape.n_ff, shape.n_embd)
            draft.has(blk + "ffn_up", shape.n_embd, shape.n_ff)
        else:
            _experts(draft, shape, blk)
    return draft.finished(Vocabulary(n_tokens=shape.n_vocab))


def _say_latent(draft: Draft, shape: Deepseek2Shape) -> None:
    draft.says(
        attention__head_count=shape.n_head,
        attention__head_count_kv=1,
        attention__q_lora_rank=shape.n_lora_q,
        attention__kv_lora_rank=shape.n_lora_kv,
        attention__key_length=shape.n_lora_kv + shape.n_rot,
        attention__value_length=shape.n_lora_kv,
        attention__key_length_mla=shape.n_embd_head_k_mla,
        attention__value_length_mla=shape.n_embd_head_v_mla,
    )


def _say_experts(draft: Draft, shape: Deepseek2Shape) -> None:
    draft.says(
        expert_feed_forward_length=shape.n_ff_exp,
        expert_count=shape.n_expert,
        expert_used_count=shape.n_expert_used,
        expert_shared_count=shape.n_expert_shared,
        expert_group_count=1,
        expert_group_used_count=1,
        expert_gating_func=2,  # sigmoid
        expert_weights_scale=1.8,
        expert_weights_norm=True,
    )


def _attention(draft: Draft, shape: Deepseek2Shape, blk: str) -> None:
    n_embd, n_head = shape.n_embd, shape.n_head
    n_nope = shape.n_embd_head_k_mla - shape.n_rot
    draft.has(blk + "attn_norm", n_embd)
    draft.has(blk + "attn_q_a", n_embd, shape.n_lora_q)
    draft.has(blk + "attn_q_a_norm", shape.n_lora_q)
    draft.has(blk + "attn_q_b", shape.n_lora_q, n_head * shape.n_embd_head_k_mla)
    draft.has(blk + "attn_kv_a_mqa", n_embd, shape.n_lora_kv + shape.n_rot)
    draft.has(blk + "attn_kv_a_norm", shape.n_lora_kv)
    draft.has(blk + "attn_k_b", n_nope, shape.n_lora_kv, n_head)
    draft.has(blk + "attn_v_b", shape.n_lora_kv, shape.n_embd_head_v_mla, n_head)
    draft.has(blk + "attn_output", n_head * shape.n_embd_head_v_mla, n_embd)
    draft.has(blk + "ffn_norm", n_embd)


def _experts(draft: Draft, shape: Deepseek2Shape, blk: str) -> None:
    n_embd, n_ff_exp, n_expert = shape.n_embd, shape.n_ff_exp, shape.n_expert
    n_ff_shexp = n_ff_exp * shape.n_expert_shared
    draft.has(blk + "ffn_gate_inp", n_embd, n_expert)
    draft.has(blk + "exp_probs_b.bias", n_expert)
    draft.has(blk + "ffn_gate_exps", n_embd, n_ff_exp, n_expert)
    draft.has(blk + "ffn_down_exps", n_ff_exp, n_embd, n_expert)
    draft.has(blk + "ffn_up_exps", n_embd, n_ff_exp, n_expert)
    draft.has(blk + "ffn_gate_shexp", n_embd, n_ff_shexp)
    draft.has(blk + "ffn_down_shexp", n_ff_shexp, n_embd)
    draft.has(blk + "ffn_up_shexp", n_embd, n_ff_shexp)
