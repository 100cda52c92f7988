"""GGUFFile -> ModelShape, by the engine's own defaults.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.model.hparams import Hparams
from placer.model.layers import Layers
from placer.model.shape import ModelShape

if TYPE_CHECKING:
    from placer.gguf import GGUFFile, Tensor

BLOCK = re.compile(r"(?:(?:enc|dec)\.)?blk\.(\d+)\.")
# LLM_TENSOR_LAYER_OUTPUT of llama-arch.cpp:755-1046; what has neither a block number
# nor belongs to the layers is input.
OUTPUT = re.compile(
    r"^(output\b|output_\w+|(dec|enc)\.output_norm|cls\b|cls\.\w+|dense_[23]"
    r"|decision\.|altup_\w+|fc\b|d2t\b|nextn\.post_projection\b|markov_w[12]\b"
    r"|conf_proj\b|selector_\w+)"
)
# LLM_TENSOR_LAYER_REPEATING without a block number: the first layer's, and those of
# which every device with layers has a copy (:754, :778).
FIRST_LAYER = re.compile(
    r"^(token_embd_norm|per_layer_model_proj|per_layer_proj_norm|conv1d|hrm\.z_l_init"
    r"|nextn\.pre_projection)\b"
)
# Where that name is the last norm's: LLM_TENSOR_OUTPUT_NORM_LFM2, llama-arch.cpp:777.
EMBEDDING_NORM_IS_LAST = frozenset({"lfm2", "lfm2moe"})
EVERY_DEVICE = re.compile(r"^rope_(freqs|factors_long|factors_short)\b")


def model_shape(file: GGUFFile, *, nextn: bool = False) -> ModelShape:
    """What the engine loads of the file, and what each layer keeps.

    Args:
        file: the header.
        nextn: whether NextN layers draft; they are not loaded otherwise.

    Raises:
        InputError: a key that the engine needs is missing or of the wrong type.
    """
    hparams = Hparams(file)
    made = Layers(hparams)
    by_layer, outer = _split_tensors(file, made.n_layer_all)
    shared = tuple(t for t in outer if EVERY_DEVICE.match(t.name))
    outputs = tuple(t for t in outer if _is_output(file, t))
    inputs = tuple(t for t in outer if t not in shared and not _is_output(file, t))
    layers = tuple(
        made.layer(index, by_layer[index] if nextn or index < made.n_layer else ())
        for index in range(made.n_layer_all)
    )
    return ModelShape(
        architecture=file.architecture,
        name=file.path.stem,
        hparams=hparams,
        layers=layers,
        n_layer_nextn=made.n_layer_nextn,
        shared_tensors=shared,
        input_tensors=inputs,
        output_tensors=outputs + _tied_output(inputs, outputs),
        n_embd=file.integer("embedding_length"),
        n_vocab=_n_vocab(file, inputs),
        n_ff=max(hparams.per_layer("feed_forward_length", 0), default=0),
        n_expert=hparams.integer("expert_count", 0),
        n_expert_used=hparams.integer("expert_used_count", 0),
        context_length=file.integer("context_length", 0),
        n_swa=made.n_swa,
        is_mla=made.is_mla,
        cache_unknown=made.unknown,
    )


def _is_output(file: GGUFFile, tensor: Tensor) -> bool:
    if OUTPUT.match(tensor.name):
        return True
    is_norm = tensor.name.startswith("token_embd_norm.")
    return is_norm and file.architecture in EMBEDDING_NORM_IS_LAST


def _n_vocab(file: GGUFFile, inputs: tuple[Tensor, ...]) -> int:
    """Tokens: the rows of the embedding."""
    for tensor in inputs:
        if tensor.name == "token_embd.weight" and len(tensor.dims) > 1:
            return tensor.dims[1]
    return file.integer("vocab_size", 0)


def _split_tensors(
    file: GGUFFile, n_layer: int
) -> tuple[dict[int, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    by_layer: dict[int, list[Tensor]] = defaultdict(list)
    outer: list[Tensor] = []
    for tensor in file.tensors:
        match = BLOCK.match(tensor.name)
        if match is None:
            is_first = FIRST_LAYER.match(tensor.name) and not _is_output(file, tensor)
            (by_layer[0] if is_first else outer).append(tensor)
            continue
        index = int(match[1])
        if index >= n_layer:
            raise InputError(
                f"tensor {tensor.name} is beyond the {n_layer} layers of block_count",
                path=file.path,
                hint="the file is not whole or not what it says; fetch it again",
            )
        by_layer[index].append(tensor)
    return defaultdict(tuple, {k: tuple(v) for k, v in by_layer.items()}), tuple(outer)


def _tied_output(
    inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The token embedding, loaded a second time where no output matrix is stored.

    Source: TENSOR_DUPLICATED, llama-model-loader.cpp:1166.
    """
    if any(t.name == "output.weight" for t in outputs):
        return ()
    return tuple(t for t in inputs if t.name == "token_embd.weight")
