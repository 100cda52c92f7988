"""pixtral: an image projector, whose images may have any size up to 1024 patches."""

from __future__ import annotations

from dataclasses import dataclass

from placer.testing.models_blueprint import Blueprint, Draft, all_f16
from placer.testing.models_file import Array, Field, Weight, text

#: Pixels of a patch's side, each patch a token; its most, clip.cpp of build 10434.
PATCH_SIDE = 16
PATCHES_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PixtralShape:
    """Hyperparameters under llama.cpp's names (tools/mtmd/clip-model.h)."""

    n_layer: int = 2
    n_embd: int = 64
    n_ff: int = 128
    n_head: int = 2
    #: The width of the model that it belongs to.
    projection_dim: int = 256


def pixtral(shape: PixtralShape) -> Blueprint:
    """A projector of this shape (tools/mtmd/models/pixtral.cpp)."""
    draft = Draft(architecture="clip", type_of=all_f16)
    draft.says(
        has_vision_encoder=True,
        use_silu=True,
        projector_type="pixtral",
        vision__block_count=shape.n_layer,
        vision__embedding_length=shape.n_embd,
        vision__feed_forward_length=shape.n_ff,
        vision__attention__head_count=shape.n_head,
        vision__attention__layer_norm_epsilon=1e-5,
        vision__projection_dim=shape.projection_dim,
        vision__image_size=PATCH_SIDE * int(PATCHES_MAX**0.5),
        vision__patch_size=PATCH_SIDE,
    )
    half = Array(element_type="float32", values=(0.5, 0.5, 0.5))
    for name in ("image_mean", "image_std"):
        key = f"clip.vision.{name}"
        draft.fields.append(Field(key=key, type_name="array", value=half))
    draft.has("v.patch_embd", PATCH_SIDE, PATCH_SIDE, 3, shape.n_embd)
    draft.has("v.pre_ln", shape.n_embd)
    for index in range(shape.n_layer):
        _layer(draft, shape, f"v.blk.{index}.")
    draft.has("mm.1", shape.n_embd, shape.projection_dim)
    draft.has("mm.2", shape.projection_dim, shape.projection_dim)
    line_end = Weight(
        name="v.token_embd.img_break", dims=(shape.projection_dim,), type_name="F32"
    )
    first = text("general.architecture", draft.architecture)
    return Blueprint(fields=(first, *draft.fields), weights=(*draft.weights, line_end))


def _layer(draft: Draft, shape: PixtralShape, blk: str) -> None:
    n_embd, n_ff = shape.n_embd, shape.n_ff
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        draft.has(blk + name, n_embd, n_embd)
    for name in ("ln1", "ln2"):
        draft.has(blk + name, n_embd)
    draft.has(blk + "ffn_gate", n_embd, n_ff)
    draft.has(blk + "ffn_up", n_embd, n_ff)
    draft.has(blk + "ffn_down", n_ff, n_embd)
