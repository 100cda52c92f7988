"""A change to one profile, on its lines; every byte that it does not own stays.

What an edit owns: the value of the line that counts for CTX_SIZE, N_GPU_LAYERS, FIT,
FIT_TARGET, SPEED and EXTRA_ARGS; and the comments that
:mod:`placer.profiles.provenance` describes. In EXTRA_ARGS it owns the flags of
``PLACEMENT`` when it places, and the flags that it is given; every other token keeps
its text and its order.

``-c``, ``-ngl``, ``-fit`` and ``-fitt`` are written to their keys, and taken out of
EXTRA_ARGS, where they would come later and win.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError, placed
from placer.profiles.extra_args import PLACEMENT, given_arguments, rewrite
from placer.profiles.profile import KEYS, find_section, read_profile, values_digest
from placer.profiles.provenance import VALUES
from placer.profiles.splice import put_facts, put_value
from placer.profiles.values import (
    layers_text,
    read_ctx_size,
    read_layers,
    read_switch,
    switch_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from placer.placement.arguments import Argument
    from placer.profiles.lines import Line
    from placer.profiles.profile import Profile

_KEY_OF_FLAG = {
    "-c": "CTX_SIZE",
    "-ngl": "N_GPU_LAYERS",
    "-fit": "FIT",
    "-fitt": "FIT_TARGET",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """New values for a profile; ``None`` leaves what is there.

    Attributes:
        on: the day that is written beside a value that it replaces.
        ctx_size: tokens.
        n_gpu_layers: as the engine counts: -1 is auto, -2 is all.
        fit_target: MiB that ``--fit`` leaves free, a device or for all: ``512,1024``.
        placement: the whole placement as llama-server's arguments. A placement flag
            that is not among them is removed; N_GPU_LAYERS and FIT stay as they are
            unless it names ``-ngl`` or ``-fit``.
        workload: other arguments to set, each in place where it stands already.
        provenance: facts to write beside the profile instead of those there; an
            empty one removes them. Where it is ``None``, facts that the edit makes
            untrue are removed.
    """

    on: date
    ctx_size: int | None = None
    n_gpu_layers: int | None = None
    fit: bool | None = None
    fit_target: str | None = None
    speed: str | None = None
    placement: tuple[str, ...] | None = None
    workload: tuple[str, ...] = ()
    provenance: Mapping[str, str] | None = None


def edited_lines(
    lines: Sequence[Line], header: int, path: Path, edit: Edit
) -> tuple[Line, ...]:
    """The lines after an edit of the section whose header is at an index.

    Raises:
        InputError: the section has no MODEL, or the edit cannot be written.
    """
    before = read_profile(lines, find_section(lines, header), path)
    if before.model is None:
        hint = "add MODEL=, a file under the models folder"
        problem = f"[{before.id}] has no MODEL"
        raise InputError(problem, path=path, line=before.line, hint=hint)
    values = _changed_values(lines, header, before, edit)
    for key in KEYS:
        if key in values:
            lines = put_value(lines, header, key, values[key], edit.on)
    after = read_profile(lines, find_section(lines, header), path)
    facts = _facts(before, after, edit)
    return tuple(lines if facts is None else put_facts(lines, header, facts))


def _facts(before: Profile, after: Profile, edit: Edit) -> Mapping[str, str] | None:
    """The facts to write, none to remove them, ``None`` to leave them."""
    digest = values_digest(after)
    if edit.provenance is None:
        return None if digest == values_digest(before) else {}
    if VALUES in edit.provenance:
        raise InputError(f"{VALUES!r} names a fact that placer writes by itself")
    return {**edit.provenance, VALUES: digest} if edit.provenance else {}


def _changed_values(
    lines: Sequence[Line], header: int, profile: Profile, edit: Edit
) -> Mapping[str, str]:
    """The values of keys that the edit makes different."""
    given = _given(edit)
    keys = _key_values(edit, given)
    changed = {k: text for k, text in keys.items() if _key_value(profile, k) != text}
    index = find_section(lines, header).keys.get("EXTRA_ARGS")
    old = "" if index is None else lines[index].value
    with placed(profile.path, profile.lines.get("EXTRA_ARGS")):
        new = _extra_args(old, given, keys, edit)
    if new != old:
        changed["EXTRA_ARGS"] = new
    return changed


def _extra_args(
    old: str, given: Sequence[Argument], keys: Mapping[str, str], edit: Edit
) -> str:
    rest = [a for a in given if a.name not in _KEY_OF_FLAG]
    placement = [a for a in rest if a.name in PLACEMENT]
    settings = {a.name: a for a in rest if a.name and a.name not in PLACEMENT}
    return rewrite(
        old,
        placed=None if edit.placement is None else placement,
        settings=settings,
        elsewhere=frozenset(f for f, key in _KEY_OF_FLAG.items() if key in keys),
    )


def _given(edit: Edit) -> tuple[Argument, ...]:
    workload = given_arguments(edit.workload)
    for argument in workload:
        if argument.name in PLACEMENT:
            raise InputError(f"{argument.name} is placement, not workload")
    return given_arguments(edit.placement or ()) + workload


def _key_values(edit: Edit, given: Sequence[Argument]) -> Mapping[str, str]:
    """What the keys are to say, each in one spelling."""
    asked = [
        ("CTX_SIZE", edit.ctx_size),
        ("N_GPU_LAYERS", edit.n_gpu_layers),
        ("FIT", None if edit.fit is None else switch_text(on=edit.fit)),
        ("FIT_TARGET", edit.fit_target),
        ("SPEED", edit.speed),
        *((_KEY_OF_FLAG.get(a.name or ""), a.value) for a in given),
    ]
    values: dict[str, str] = {}
    for key, value in asked:
        if key is None or value is None:
            continue
        text = _one_spelling(key, str(value))
        if values.setdefault(key, text) != text:
            raise InputError(f"the edit gives {key} as {values[key]} and as {text}")
    return values


def _one_spelling(key: str, text: str) -> str:
    if key == "CTX_SIZE":
        return str(read_ctx_size(text))
    if key == "N_GPU_LAYERS" and (layers := read_layers(text)) is not None:
        return layers_text(layers)
    if key == "FIT" and (fit := read_switch(text)) is not None:
        return switch_text(on=fit)
    if not text.isprintable() or text != text.strip():
        hint = "one line without blanks around it"
        raise InputError(f"{text!a} cannot stand as {key}", hint=hint)
    return text


def _key_value(profile: Profile, key: str) -> str | None:
    """What a key says, in the same spelling."""
    known = {
        "CTX_SIZE": None if profile.ctx_size is None else str(profile.ctx_size),
        "N_GPU_LAYERS": None
        if profile.n_gpu_layers is None
        else layers_text(profile.n_gpu_layers),
        "FIT": None if profile.fit is None else switch_text(on=profile.fit),
        "FIT_TARGET": profile.fit_target,
        "SPEED": profile.speed,
    }
    return known[key]
