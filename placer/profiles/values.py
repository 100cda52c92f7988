"""The values of keys: text in models.conf to what it means, and back."""

from __future__ import annotations

import re

from placer.errors import InputError

LAYERS_AUTO = -1  # -ngl auto, the engine's default: common/arg.cpp:2746-2750
LAYERS_ALL = -2  # -ngl all
_LAYERS = {"auto": LAYERS_AUTO, "all": LAYERS_ALL}
_ON = frozenset({"on", "enabled", "true", "1"})  # common/arg.cpp:1332
_OFF = frozenset({"off", "disabled", "false", "0"})  # common/arg.cpp:1336


def read_ctx_size(text: str) -> int | None:
    """A context in tokens; ``None`` where the value is empty.

    Raises:
        InputError: it is no whole number that the engine can hold.
    """
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,10}", text) is None:
        hint = "write a whole number of tokens, e.g. 131072"
        raise InputError(f"{text!a} is no context size", hint=hint)
    return int(text)


def read_layers(text: str) -> int | None:
    """A number of layers as the engine counts; ``None`` where the value is empty.

    Raises:
        InputError: it is no whole number, ``auto`` or ``all``.
    """
    if not text:
        return None
    if text in _LAYERS:
        return _LAYERS[text]
    if re.fullmatch(r"-?[0-9]{1,9}", text) is None:
        hint = "write a whole number, auto or all"
        raise InputError(f"{text!a} is no number of layers", hint=hint)
    return int(text)


def read_switch(text: str) -> bool | None:
    """Whether it says on; ``None`` where the value is empty.

    Raises:
        InputError: it says neither on nor off in a way that the engine reads.
    """
    if not text:
        return None
    if text in _ON | _OFF:
        return text in _ON
    raise InputError(f"{text!a} is neither on nor off", hint="write on or off")


def layers_text(n_layers: int) -> str:
    """What N_GPU_LAYERS says for a number of layers."""
    words = {number: word for word, number in _LAYERS.items()}
    return words.get(n_layers, str(n_layers))


def switch_text(*, on: bool) -> str:
    """What FIT says."""
    return "on" if on else "off"
