r"""The preset file of llama-server's router: ``--models-preset``.

::

    [glm-q4]                        a section a model, by the name that requests have
    model = models/glm-q4.gguf      KEY = VALUE; a key is a flag without its dashes
    kv-unified = true               a flag that takes no value
    load-on-startup = true          for the router alone

A value ends at the first ``;`` or ``#`` and nothing escapes them; quotes, commas and
backslashes stand for themselves. Of a key that is written twice the last one counts,
and the engine gets the flags in an order of its own. So what adds up on a command line
has to stand in one value: ``-ot``, ``-cmoe`` and ``-ncmoe`` become one
``override-tensor``.

Sources: common/preset.cpp and tools/server/server-models.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement import whole_number
from placer.placement.arguments import LISTS, OVERRIDES, read_tokens
from placer.placement.flags import CPU_MOE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placer.placement.arguments import Argument

VERSION = "version = 1"
STARTUP = "load-on-startup"
# What the router takes out of a preset, or overwrites: server-models.cpp:492, 544.
ROUTERS_OWN = frozenset(
    "host port log-colors api-key api-key-file api-prefix ssl-key-file ssl-cert-file "
    "models-dir models-max models-preset models-autoload no-models-autoload".split()
)
# -ot of a draft model and its kin share a list too: arg.cpp:4126-4139.
DRAFT_OVERRIDES = frozenset({"-otd", "-cmoed", "-ncmoed"})
_ENDS_VALUE = re.compile(r"[;#\r\n]")
_FLAG = re.compile(r"-{1,2}[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One model of the router.

    Attributes:
        name: what requests call it.
        options: its flags by key, in the order in which they are written.
        on_startup: whether it is loaded when the router starts.
    """

    name: str
    options: Mapping[str, str]
    on_startup: bool = False


def preset_text(presets: Sequence[Preset], comments: Sequence[str] = ()) -> str:
    """The whole file."""
    lines = [f"; {comment}".rstrip() for comment in comments]
    lines += [VERSION]
    for preset in presets:
        lines += ["", f"[{preset.name}]"]
        lines += [f"{key} = {value}" for key, value in preset.options.items()]
        if preset.on_startup:
            lines.append(f"{STARTUP} = true")
    return "\n".join(lines) + "\n"


def options_of(tokens: Sequence[str]) -> dict[str, str]:
    """The flags of a command line by key, the router's own among them.

    Raises:
        InputError: something that a preset cannot say.
    """
    arguments = read_tokens(tokens)
    options: dict[str, str] = {}
    overrides: list[str] = []
    for key, value, argument in _pairs(arguments):
        name = argument.name
        if name in OVERRIDES:
            overrides += _overrides(argument)
            continue
        if name is None or name in DRAFT_OVERRIDES:
            _require_once(key, value, options)
        is_more = name in LISTS and key in options
        options[key] = f"{options[key]},{value}" if is_more else value
    if overrides:
        options["override-tensor"] = ",".join(overrides)
    for key, value in options.items():
        _require_sayable(key, value)
    return options


def _pairs(arguments: Sequence[Argument]) -> Iterator[tuple[str, str, Argument]]:
    """Key and value of each flag; one that placer does not know may have a value."""
    at = 0
    while at < len(arguments):
        argument = arguments[at]
        at += 1
        option = argument.option
        if option is not None:
            value = argument.value or "on"
            if not option.takes_value:
                value = "true" if value == "on" else "false"
            yield _key(option.spellings[-1]), value, argument
            continue
        flag, values = argument.text, []
        while at < len(arguments) and _is_value(arguments[at]):
            values.append(arguments[at].text)
            at += 1
        _require_flag(flag, values)
        yield _key(flag), values[0] if values else "true", argument


def _is_value(argument: Argument) -> bool:
    """Whether a token belongs to the flag before it: -1 is a number, -n a flag."""
    return argument.option is None and _FLAG.match(argument.text) is None


def _key(flag: str) -> str:
    return flag.lstrip("-").replace("_", "-")


def _overrides(argument: Argument) -> list[str]:
    """The patterns of ``-ot``, ``-cmoe`` or ``-ncmoe``, as the engine reads them."""
    if argument.name == "-cmoe":
        return [f"{CPU_MOE}=CPU"]
    value = argument.value or ""
    if argument.name == "-ncmoe":
        return [
            rf"blk\.{layer}{CPU_MOE}=CPU"
            for layer in range(whole_number("-ncmoe", value))
        ]
    return [value]


def _require_flag(flag: str, values: Sequence[str]) -> None:
    if _FLAG.match(flag) is None:
        raise InputError(f"{flag!r} is no flag", hint="flags begin with a dash")
    if len(values) > 1:
        raise InputError(
            f"{flag} has {len(values)} values, which a preset cannot say",
            hint="leave it out of the profile",
        )


def _require_once(key: str, value: str, options: Mapping[str, str]) -> None:
    if options.get(key, value) != value:
        raise InputError(
            f"--{key} stands twice, which a preset cannot say",
            hint="say it once, where the engine takes several values joined by a comma",
        )


def _require_sayable(key: str, value: str) -> None:
    if _ENDS_VALUE.search(value) or value != value.strip(" \t") or not value:
        raise InputError(
            f"{key} = {value!r} cannot be said in a preset file",
            hint="it may hold no ; and no #, nor begin or end with a blank",
        )
