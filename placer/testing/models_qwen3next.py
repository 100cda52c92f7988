"""qwen3next: a recurrent state in most layers, attention in every fourth."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, TypeOf, all_f16
from placer.testing.models_vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3NextShape:
    """Hyperparameters under llama.cpp's names (src/llama-hparams.h)."""

    n_layer: int = 4
    full_attention_interval: int = 4
    n_embd: int = 256
    n_ff: int = 512
    n_ff_exp: int = 128
    n_ff_shexp: int = 128
    n_expert: int = 8
    n_expert_used: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_embd_head: int = 64
    n_rot: int = 32
    ssm_d_conv: int = 4
    ssm_d_state: int = 32
    ssm_n_group: int = 4
    ssm_dt_rank: int = 8
    n_vocab: int = 512
    n_ctx_train: int = 262_144

    @property
    def ssm_d_inner(self) -> int:
        """The width of the recurrent values: heads by their size."""
        return self.ssm_dt_rank * self.ssm_d_state


def qwen3next(shape: Qwen3NextShape, type_of: TypeOf = all_f16) -> Blueprint:
    """A hybrid model of this shape (src/models/qwen3next.cpp)."""
    draft = Draft(architecture="qwen3next", type_of=type_of)
    _say(draft, shape)
    draft.has_embeddings(shape.n_embd, shape.n_vocab)
    for index in range(shape.n_layer):
        blk = f"blk.{index}."
        draft.has(blk + "attn_norm", shape.n_embd)
        if (index + 1) % shape.full_attention_interval == 0:
            _attention(draft, shape, blk)
        else:
            _recurrence(draft, shape, blk)
        draft.has(blk + "post_attention_norm", shape.n_embd)
        _experts(draft, shape, blk)
    return draft.finished(Vocabulary(n_tokens=shape.n_vocab))


def _say(draft: Draft, shape: Qwen3NextShape) -> None:
    draft.says(
        block_count=shape.n_layer,
        context_length=shape.n_ctx_train,
        embedding_length=shape.n_embd,
        feed_forward_length=shape.n_ff,
        expert_feed_forward_length=shape.n_ff_exp,
        expert_shared_feed_forward_length=shape.n_ff_shexp,
        expert_count=shape.n_expert,
        expert_used_count=shape.n_expert_used,
        attention__head_count=shape.n_head,
        attention__head_count_kv=shape.n_head_kv,
        attention__key_length=shape.n_embd_head,
        attention__value_length=shape.n_embd_head,
        attention__layer_norm_rms_epsilon=1e-6,
        full_attention_interval=shape.full_attention_interval,
        rope__dimension_count=shape.n_rot,
        rope__freq_base=5_000_000.0,
        ssm__conv_kernel=shape.ssm_d_conv,
        ssm__inner_size=shape.ssm_d_inner,
        ssm__state_size=shape.ssm_d_state,
        ssm__time_step_rank=shape.ssm_dt_rank,
        ssm__group_count=shape.ssm_n_group,
    )


def _attention(draft: Draft, shape: Qwen3NextShape, blk: str) -> None:
    n_embd_q = shape.n_head * shape.n_embd_head
    n_embd_kv = shape.n_head_kv * shape.n_embd_head
    draft.has(blk + "attn_q", shape.n_embd, n_embd_q * 2)  # query and gate
    draft.has(blk + "attn_q_norm", shape.n_embd_head)
    draft.has(blk + "attn_k", shape.n_embd, n_embd_kv)
    draft.has(blk + "attn_k_norm", shape.n_embd_head)
    draft.has(blk + "attn_v", shape.n_embd, n_embd_kv)
    draft.has(blk + "attn_output", n_embd_q, shape.n_embd)


def _recurrence(draft: Draft, shape: Qwen3NextShape, blk: str) -> None:
    n_embd, d_inner = shape.n_embd, shape.ssm_d_inner
    n_qkv = d_inner + 2 * shape.ssm_n_group * shape.ssm_d_state
    draft.has(blk + "attn_qkv", n_embd, n_qkv)
    draft.has(blk + "attn_gate", n_embd, d_inner)
    draft.has(blk + "ssm_conv1d", shape.ssm_d_conv, n_qkv)
    draft.has(blk + "ssm_dt.bias", shape.ssm_dt_rank)
    draft.has(blk + "ssm_a", shape.ssm_dt_rank)
    draft.has(blk + "ssm_ba", n_embd, 2 * shape.ssm_dt_rank)
    draft.has(blk + "ssm_norm", shape.ssm_d_state)
    draft.has(blk + "ssm_out", d_inner, n_embd)


def _experts(draft: Draft, shape: Qwen3NextShape, blk: str) -> None:
    n_embd, n_ff_exp, n_expert = shape.n_embd, shape.n_ff_exp, shape.n_expert
    draft.has(blk + "ffn_gate_inp", n_embd, n_expert)
    draft.has(blk + "ffn_gate_exps", n_embd, n_ff_exp, n_expert)
    draft.has(blk + "ffn_down_exps", n_ff_exp, n_embd, n_expert)
    draft.has(blk + "ffn_up_exps", n_embd, n_ff_exp, n_expert)
    draft.has(blk + "ffn_gate_inp_shexp", n_embd)
    draft.has(blk + "ffn_gate_shexp", n_embd, shape.n_ff_shexp)
    draft.has(blk + "ffn_down_shexp", shape.n_ff_shexp, n_embd)
    draft.has(blk + "ffn_up_shexp", n_embd, shape.n_ff_shexp)
