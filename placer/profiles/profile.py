"""One section of a models.conf, understood."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from placer.errors import placed
from placer.placement.arguments import parse_arguments
from placer.profiles.lines import BLANKS, Kind
from placer.profiles.provenance import VALUES, read_facts
from placer.profiles.values import (
    layers_text,
    read_ctx_size,
    read_layers,
    read_switch,
    switch_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from placer.placement.arguments import Argument
    from placer.profiles.lines import Line

KEYS = (  # in the order in which users write them
    "NAME",
    "DESCRIPTION",
    "MODEL",
    "CTX_SIZE",
    "N_GPU_LAYERS",
    "FIT",
    "FIT_TARGET",
    "EXTRA_ARGS",
    "SPEED",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one section says; ``None`` where it does not say.

    Of a key that is written twice the last one counts. Text is as written, bytes that
    are no UTF-8 as lone surrogates.

    Attributes:
        path: the file it was read from.
        line: the line of ``[id]``, counted from 1.
        ctx_size: tokens; 0 is the model's own.
        n_gpu_layers: as the engine counts: -1 is auto, -2 is all.
        extra_args: the tokens that the shell makes of EXTRA_ARGS.
        other: the keys that placer does not know, as written.
        lines: the line of each key that counts.
        provenance: the facts that placer wrote beside the profile.
        provenance_holds: whether they are about the profile as it stands; ``None``
            where there are none.
    """

    path: Path
    id: str
    line: int
    name: str | None = None
    description: str | None = None
    model: str | None = None
    ctx_size: int | None = None
    n_gpu_layers: int | None = None
    fit: bool | None = None
    fit_target: str | None = None
    extra_args: tuple[str, ...] = ()
    speed: str | None = None
    other: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[str, str] | None = None
    provenance_holds: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Where a section stands, as indexes of lines.

    ``stop`` is where the next one begins, ``keys`` the line that counts for each key,
    ``last_key`` the last key line (the header, where there is none).
    """

    header: int
    stop: int
    keys: Mapping[str, int]
    last_key: int


def find_section(lines: Sequence[Line], header: int) -> Section:
    """The section whose header is at an index."""
    keys: dict[str, int] = {}
    stop = header + 1
    while stop < len(lines) and lines[stop].kind is not Kind.SECTION:
        if lines[stop].kind is Kind.KEY:
            keys[lines[stop].name] = stop
        stop += 1
    last_key = max(keys.values(), default=header)
    return Section(header=header, stop=stop, keys=keys, last_key=last_key)


def read_profile(lines: Sequence[Line], section: Section, path: Path) -> Profile:
    """The profile that a section is.

    Raises:
        InputError: a value that placer reads is not what it should be.
    """
    texts = {key: lines[index].value for key, index in section.keys.items()}
    numbers = {key: index + 1 for key, index in section.keys.items()}
    with placed(path, numbers.get("CTX_SIZE")):
        ctx_size = read_ctx_size(texts.get("CTX_SIZE", ""))
    with placed(path, numbers.get("N_GPU_LAYERS")):
        n_gpu_layers = read_layers(texts.get("N_GPU_LAYERS", ""))
    with placed(path, numbers.get("FIT")):
        fit = read_switch(texts.get("FIT", ""))
    profile = Profile(
        path=path,
        id=lines[section.header].name,
        line=section.header + 1,
        name=texts.get("NAME"),
        description=texts.get("DESCRIPTION"),
        model=texts.get("MODEL") or None,
        ctx_size=ctx_size,
        n_gpu_layers=n_gpu_layers,
        fit=fit,
        fit_target=texts.get("FIT_TARGET"),
        extra_args=tuple(re.findall(r"[^ \t]+", texts.get("EXTRA_ARGS", ""))),
        speed=texts.get("SPEED"),
        other=MappingProxyType({k: t for k, t in texts.items() if k not in KEYS}),
        lines=MappingProxyType(numbers),
    )
    return _with_facts(profile, lines[section.header : section.last_key])


def _with_facts(profile: Profile, lines: Sequence[Line]) -> Profile:
    comments = (line.text for line in lines if line.kind is Kind.COMMENT)
    facts = read_facts(text.strip(BLANKS) for text in comments)
    if facts is None:
        return profile
    holds = facts.get(VALUES) == values_digest(profile)
    return replace(profile, provenance=facts, provenance_holds=holds)


def values_digest(profile: Profile) -> str:
    """Twelve hex digits that change with what the profile runs and where."""
    parts = (
        profile.model,
        profile.ctx_size,
        profile.n_gpu_layers,
        profile.fit,
        profile.fit_target,
        *profile.extra_args,
    )
    return hashlib.sha256(ascii(parts).encode()).hexdigest()[:12]


def read_arguments(profile: Profile) -> tuple[Argument, ...]:
    """What llama-server is given for a profile, in order: the keys, then EXTRA_ARGS.

    Raises:
        InputError: a flag in EXTRA_ARGS has no value or is spelled ``--flag=value``.
    """
    given: list[str] = []
    if profile.ctx_size is not None:
        given += ["-c", str(profile.ctx_size)]
    if profile.n_gpu_layers is not None:
        given += ["-ngl", layers_text(profile.n_gpu_layers)]
    if profile.fit is not None:
        given += ["-fit", switch_text(on=profile.fit)]
    if profile.fit_target:
        given += ["-fitt", profile.fit_target]
    own = parse_arguments(" ".join(given), path=profile.path)
    line = profile.lines.get("EXTRA_ARGS")
    extra = " ".join(profile.extra_args)
    return own + parse_arguments(extra, path=profile.path, line=line)
