"""gpt-oss: a window in every second layer, sinks, biases, experts everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, TypeOf, all_f16
from placer.testing.models_vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class GptOssShape:
    """Hyperparameters under llama.cpp's names (src/llama-hparams.h)."""

    n_layer: int = 4
    n_embd: int = 256
    n_ff_exp: int = 128
    n_expert: int = 8
    n_expert_used: int = 2
    n_head: int = 4
    n_head_kv: int = 2
    n_embd_head: int = 64
    n_swa: int = 128
    n_vocab: int = 512
    n_ctx_train: int = 131_072


def gpt_oss(shape: GptOssShape, type_of: TypeOf = all_f16) -> Blueprint:
    """A model of this shape (src/models/openai-moe.cpp); layer 0 has the window."""
    draft = Draft(architecture="gpt-oss", type_of=type_of)
    draft.says(
        block_count=shape.n_layer,
        context_length=shape.n_ctx_train,
        embedding_length=shape.n_embd,
        feed_forward_length=shape.n_ff_exp,
        expert_feed_forward_length=shape.n_ff_exp,
        expert_count=shape.n_expert,
        expert_used_count=shape.n_expert_used,
        attention__head_count=shape.n_head,
        attention__head_count_kv=shape.n_head_kv,
        attention__key_length=shape.n_embd_head,
        attention__value_length=shape.n_embd_head,
        attention__sliding_window=shape.n_swa,
        attention__layer_norm_rms_epsilon=1e-5,
        rope__freq_base=150_000.0,
        rope__scaling__type="yarn",
        rope__scaling__factor=32.0,
        rope__scaling__original_context_length=4096,
    )
    draft.has_embeddings(shape.n_embd, shape.n_vocab)
    for index in range(shape.n_layer):
        _attention(draft, shape, f"blk.{index}.")
        _experts(draft, shape, f"blk.{index}.")
    return draft.finished(Vocabulary(n_tokens=shape.n_vocab))


def _attention(draft: Draft, shape: GptOssShape, blk: str) -> None:
    n_embd_q = shape.n_head * shape.n_embd_head
    n_embd_kv = shape.n_head_kv * shape.n_embd_head
    draft.has(blk + "attn_norm", shape.n_embd)
    for name, width in (("q", n_embd_q), ("k", n_embd_kv), ("v", n_embd_kv)):
        draft.has(f"{blk}attn_{name}", shape.n_embd, width)
        draft.has(f"{blk}attn_{name}.bias", width)
    draft.has(blk + "attn_output", n_embd_q, shape.n_embd)
    draft.has(blk + "attn_output.bias", shape.n_embd)
    draft.has(blk + "attn_sinks", shape.n_head)
    draft.has(blk + "post_attention_norm", shape.n_embd)


def _experts(draft: Draft, shape: GptOssShape, blk: str) -> None:
    n_embd, n_ff_exp, n_expert = shape.n_embd, shape.n_ff_exp, shape.n_expert
    draft.has(blk + "ffn_gate_inp", n_embd, n_expert)
    draft.has(blk + "ffn_gate_inp.bias", n_expert)
    for name, n_in, n_out in (
        ("gate", n_embd, n_ff_exp),
        ("down", n_ff_exp, n_embd),
        ("up", n_embd, n_ff_exp),
    ):
        draft.has(f"{blk}ffn_{name}_exps", n_in, n_out, n_expert)
        draft.has(f"{blk}ffn_{name}_exps.bias", n_out, n_expert)
