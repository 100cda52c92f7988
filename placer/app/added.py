"""A new profile: what a model's header says it should be."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from placer.app.target import model_path
from placer.app.variants import (
    BENCH,
    PRODUCTION,
    UNPLACED,
    bench_comment,
    bench_values,
    placing_comment,
    variant_id,
)
from placer.app.write import Applied
from placer.gguf import GGUFFile, read_gguf
from placer.model import ModelShape, model_shape
from placer.placement import Workload
from placer.profiles import create_conf, parse_conf, read_conf, write_conf
from placer.profiles.append import require_id
from placer.units import size_text

if TYPE_CHECKING:
    from placer.app.target import Folders
    from placer.app.where import Where
    from placer.profiles import Conf

MOST_CTX = 131_072
UNKNOWN_CTX = 4096
HEADER = """\
# Profiles: one section a model and a use. `placer new` adds one, `placer optimize`
# finds its placement, proves it and writes it here.
#
# A line is KEY=VALUE, cut at the first =, without quotes; a comment is a whole line
# that begins with #. MODEL is a file under the models folder, EXTRA_ARGS holds every
# other argument of llama-server.
"""
# Build 11434 turns flash attention off for it: llama-context.cpp:3818.
NOT_FUSED = frozenset({"grok"})
QUANT = re.compile(
    r"(?:^|[-._ ])((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP4\w*|BF16|F16|F32))(?=[-. ]|$)",
    re.IGNORECASE,
)
PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a new profile is to say; None leaves what the model suggests.

    Attributes:
        name: what a menu shows.
        description: one line on what it is for.
        ctx: tokens of context.
        batch: logical batch.
        ubatch: physical batch.
        type_k: type of the keys in the cache.
        type_v: type of the values in the cache.
        variants: which profiles of the model are added.
    """

    name: str | None = None
    description: str | None = None
    ctx: int | None = None
    batch: int | None = None
    ubatch: int | None = None
    type_k: str | None = None
    type_v: str | None = None
    variants: tuple[str, ...] = (PRODUCTION,)


def new(
    profile_id: str,
    model: str,
    where: Where,
    wanted: Wanted | None = None,
    *,
    write: bool = True,
) -> Applied:
    """A profile for a model, behind all others of the file; a file where there is none.

    Args:
        profile_id: its name; that of a bench variant is made of it.
        model: the file, or its name under the models folder.
        where: the files.
        wanted: what it is to say.
        write: False only says what would be added.

    Raises:
        InputError: the model is not whole, the profile is there already, or the file
            cannot be written.
    """
    require_id(profile_id)
    asked = wanted or Wanted()
    file = read_gguf(model_path(model, where.folders))
    path = where.folders.conf_path
    is_there = os.path.lexists(path)
    before = read_conf(path) if is_there else parse_conf(HEADER.encode(), path)
    after = _with_variants(before, profile_id, file, where.folders, asked)
    if write:
        if not is_there:
            create_conf(path, HEADER)
        write_conf(after, path)
    shown = before if is_there else parse_conf(b"", path)
    return Applied(before=shown, after=after, written=write)


def _with_variants(
    conf: Conf, profile_id: str, file: GGUFFile, folders: Folders, asked: Wanted
) -> Conf:
    shape = model_shape(file)
    values = _values(file, shape, folders, asked)
    comments = (_origin(file, shape), placing_comment(profile_id))
    both = conf.added(profile_id, values, comments)
    bench_id = variant_id(profile_id, BENCH)
    if PRODUCTION in asked.variants:
        conf = both
    if BENCH in asked.variants:
        bench = bench_values(both.profile(profile_id), shape.context_length)
        comments = (bench_comment(profile_id), placing_comment(bench_id))
        conf = conf.added(bench_id, bench, comments)
    return conf


def _values(
    file: GGUFFile, shape: ModelShape, folders: Folders, asked: Wanted
) -> dict[str, str]:
    usual = min(shape.context_length or UNKNOWN_CTX, MOST_CTX)
    ctx = usual if asked.ctx is None else asked.ctx
    engines = _engines_own(asked)
    batch, ubatch = asked.batch or engines.batch, asked.ubatch or engines.ubatch
    batches = ("-b", str(batch), "-ub", str(ubatch))
    about = [size_text(file.size_bytes), _kind_text(shape), f"{_k_text(ctx)} context"]
    return {
        "NAME": asked.name or model_name(file),
        "DESCRIPTION": asked.description or ", ".join(about),
        "MODEL": _model_text(file.path, folders),
        "CTX_SIZE": str(ctx),
        **UNPLACED,
        "EXTRA_ARGS": " ".join((*_cache_args(shape, asked), *batches)),
    }


def _cache_args(shape: ModelShape, asked: Wanted) -> tuple[str, ...]:
    """Flash attention, and a cache of half the size where the heads allow it."""
    is_fused = shape.architecture not in NOT_FUSED
    is_cached = any(layer.has_kv for layer in shape.layers)
    usual = None
    if is_fused and is_cached and shape.takes_cache_blocks:
        usual = "q8_0"
    args = ["-fa", "on"] if is_fused and is_cached else []
    for flag, given in (("-ctk", asked.type_k), ("-ctv", asked.type_v)):
        kind = given or usual
        args += [] if kind is None else [flag, kind]
    return tuple(args)


def _engines_own(asked: Wanted) -> Workload:
    """What the engine does unasked, with the cache types that are asked for.

    Raises:
        InputError: it does not know one.
    """
    return Workload(ctx=1, type_k=asked.type_k or "f16", type_v=asked.type_v or "f16")


def model_name(file: GGUFFile) -> str:
    """``"GLM 4.7 Flash 30B Q8_0"``: what the header calls it, its size, its types."""
    stem = PART.sub("", file.path.stem)
    quant = _quant(stem, file)
    name = _said(file, "general.name") or QUANT.sub("", stem) or stem
    for part in (_said(file, "general.size_label"), quant):
        if _letters(part) not in _letters(name):
            name = f"{name} {part}"
    return name


def _quant(stem: str, file: GGUFFile) -> str:
    """As the file's name has it, else the type of most of the bytes."""
    named = QUANT.findall(stem)
    if named:
        return str(named[-1])
    bytes_of: dict[str, int] = {}
    for tensor in file.tensors:
        kind = tensor.type_name
        bytes_of[kind] = bytes_of.get(kind, 0) + tensor.n_bytes
    return max(bytes_of, key=lambda kind: bytes_of[kind], default="")


def _said(file: GGUFFile, key: str) -> str:
    """A text of the header on one printable line."""
    value = file.metadata.get(key)
    if not isinstance(value, str):
        return ""
    shown = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(shown.split())


def _letters(text: str) -> str:
    """A text less all that only separates."""
    return "".join(c for c in text.casefold() if c.isalnum())


def _kind_text(shape: ModelShape) -> str:
    return f"{shape.n_expert} experts" if shape.is_moe else "dense"


def _k_text(ctx: int) -> str:
    return f"{ctx // 1024}K" if ctx % 1024 == 0 else f"{ctx:,}-token"


def _model_text(path: Path, folders: Folders) -> str:
    """As MODEL has it: under the models folder where it lies there."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its name
    for folder in (folders.models_path, folders.models_path.resolve()):
        base = os.path.abspath(folder)  # noqa: PTH100 - likewise
        if whole.is_relative_to(base):
            return str(whole.relative_to(base))
    return str(whole)


def _origin(file: GGUFFile, shape: ModelShape) -> str:
    day = datetime.now(UTC).date().isoformat()
    name = ascii(file.path.name)[1:-1]
    return f"New on {day}, read from {name}: {shape.architecture}, {_size(shape)}."


def _size(shape: ModelShape) -> str:
    return f"{shape.n_layer_all} layers, {_kind_text(shape)}"
