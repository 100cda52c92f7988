"""EXTRA_ARGS with other flags in it, and every other token as it was."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement.arguments import OVERRIDES, parse_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from placer.placement.arguments import Argument

PLACEMENT = frozenset(
    {"-ngl", "-ts", "-ot", "-sm", "-mg", "-fit", "-dev", "-cmoe", "-ncmoe"}
)
# What the shell or the engine would not hand on as it stands.
_SAFE_TOKEN = re.compile(r"[!#%&(-_a-~]+")  # printable ASCII less space " $ ' `


def given_arguments(tokens: Sequence[str]) -> tuple[Argument, ...]:
    """The arguments in tokens that are about to be written.

    Raises:
        InputError: a token would not reach the engine as it stands, is no flag that
            placer knows, or is an ``-ot`` that the engine would cut in two.
    """
    for token in tokens:
        if _SAFE_TOKEN.fullmatch(token) is None:
            hint = "leave out blanks, quotes, $, ` and what is not ASCII"
            problem = f"{token!a} cannot stand in EXTRA_ARGS"
            raise InputError(problem, hint=hint)
    arguments = parse_arguments(" ".join(tokens))
    for argument in arguments:
        if argument.value is None:
            raise InputError(f"{argument.text.strip()!r} is no flag that placer writes")
        if argument.name == "-ot":
            _require_overrides(argument.value)
    return arguments


def _require_overrides(value: str) -> None:
    """The engine cuts at each comma, then at the first ``=``: arg.cpp:264-270."""
    for override in value.split(","):
        pattern, equals, buffer = override.partition("=")
        if not (pattern and equals and buffer) or "=" in buffer:
            hint = "a pattern can hold neither a comma nor ="
            problem = f"{override!r} of -ot is no PATTERN=BUFFER"
            raise InputError(problem, hint=hint)


def rewrite(
    text: str,
    *,
    placed: Sequence[Argument] | None,
    settings: Mapping[str, Argument],
    elsewhere: frozenset[str],
) -> str:
    """EXTRA_ARGS after an edit.

    Args:
        text: EXTRA_ARGS before it.
        placed: the whole placement; ``None`` leaves that in the text as it is.
        settings: other flags by name; each is changed where it stands last, or
            added.
        elsewhere: flags that a key says, and that go.

    Raises:
        InputError: the text before it cannot be read.
    """
    arguments = [a for a in _spaced(parse_arguments(text)) if a.name not in elsewhere]
    if placed is not None and _meaning(placed) != _meaning(arguments):
        arguments = [a for a in arguments if a.name not in PLACEMENT]
        arguments = _with_settings(arguments, settings)
        arguments += sorted(_spaced(placed), key=lambda a: a.name in OVERRIDES)
    else:
        arguments = _with_settings(arguments, settings)
    return "".join(argument.text for argument in arguments).strip(" \t")


def _spaced(arguments: Iterable[Argument]) -> list[Argument]:
    """The same, each with a blank before it."""
    return [
        a if a.text[0] in " \t" else replace(a, text=f" {a.text}") for a in arguments
    ]


def _meaning(arguments: Iterable[Argument]) -> tuple[object, ...]:
    """What the placement flags say, however they are spelled and ordered."""
    own = [a for a in arguments if a.name in PLACEMENT]
    overrides = [
        (a.name, part)
        for a in own
        if a.name in OVERRIDES
        for part in (a.value or "").split(",")
    ]
    return overrides, {a.name: a.value for a in own if a.name not in OVERRIDES}


def _with_settings(
    arguments: Sequence[Argument], settings: Mapping[str, Argument]
) -> list[Argument]:
    changed = list(arguments)
    added = []
    for name, setting in settings.items():
        at = max((i for i, a in enumerate(changed) if a.name == name), default=None)
        if at is None:
            added.append(setting)
        else:
            changed[at] = _with_value(changed[at], setting)
    at = next((i for i, a in enumerate(changed) if a.name in OVERRIDES), len(changed))
    return [*changed[:at], *_spaced(added), *changed[at:]]


def _with_value(old: Argument, new: Argument) -> Argument:
    """The new value in the spelling and the blanks of the old."""
    if old.value == new.value:
        return old
    if old.option is not None and not old.option.takes_value:
        return replace(new, text=f" {new.text.strip()}")
    head = old.text.removesuffix(old.value) if old.value else f"{old.text} "
    return replace(old, text=f"{head}{new.value}", value=new.value)
