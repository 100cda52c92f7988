"""llama: dense, every layer alike."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, TypeOf, all_f16
from placer.testing.models_vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaShape:
    """Hyperparameters under llama.cpp's names (src/llama-hparams.h)."""

    n_layer: int = 4
    n_embd: int = 256
    n_ff: int = 512
    n_head: int = 4
    n_head_kv: int = 2
    n_embd_head: int = 64
    n_vocab: int = 512
    n_ctx_train: int = 131_072


def llama(shape: LlamaShape, type_of: TypeOf = all_f16) -> Blueprint:
    """A dense model of this shape (src/models/llama.cpp)."""
    draft = Draft(architecture="llama", type_of=type_of)
    draft.says(
        block_count=shape.n_layer,
        context_length=shape.n_ctx_train,
        embedding_length=shape.n_embd,
        feed_forward_length=shape.n_ff,
        attention__head_count=shape.n_head,
        attention__head_count_kv=shape.n_head_kv,
        attention__key_length=shape.n_embd_head,
        attention__value_length=shape.n_embd_head,
        attention__layer_norm_rms_epsilon=1e-5,
        rope__dimension_count=shape.n_embd_head,
        rope__freq_base=10_000.0,
    )
    draft.has_embeddings(shape.n_embd, shape.n_vocab)
    for index in range(shape.n_layer):
        _layer(draft, shape, f"blk.{index}.")
    return draft.finished(Vocabulary(n_tokens=shape.n_vocab))


def _layer(draft: Draft, shape: LlamaShape, blk: str) -> None:
    n_embd, n_ff = shape.n_embd, shape.n_ff
    n_embd_q = shape.n_head * shape.n_embd_head
    n_embd_kv = shape.n_head_kv * shape.n_embd_head
    draft.has(blk + "attn_norm", n_embd)
    draft.has(blk + "attn_q", n_embd, n_embd_q)
    draft.has(blk + "attn_k", n_embd, n_embd_kv)
    draft.has(blk + "attn_v", n_embd, n_embd_kv)
    draft.has(blk + "attn_output", n_embd_q, n_embd)
    draft.has(blk + "ffn_norm", n_embd)
    draft.has(blk + "ffn_gate", n_embd, n_ff)
    draft.has(blk + "ffn_down", n_ff, n_embd)
    draft.has(blk + "ffn_up", n_embd, n_ff)
