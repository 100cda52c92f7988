"""EXTRA_ARGS as llama-server reads them.

start.sh passes EXTRA_ARGS through an unquoted shell expansion: tokens are separated
by spaces and tabs, quotes and backslashes mean nothing, and a token with ``*``, ``?``
or ``[`` stays as it is unless a file of the working folder matches it.

llama-server looks a token up whole, after turning ``_`` into ``-`` in one that
begins with ``--``, and takes the next token as its value (common/arg.cpp:817-868):
``--flag=value`` is an invalid argument. The last of a repeated flag wins, except that
``-ot``, ``-cmoe`` and ``-ncmoe`` add to one list (arg.cpp:2715-2741). Lines are those
of build 10435.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError, placed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_TOKEN = re.compile(r"[ \t]*[^ \t]+")
OVERRIDES = frozenset({"-ot", "-cmoe", "-ncmoe"})  # one list, the first match wins


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A flag of llama-server: its name here, and every spelling of it.

    ``off`` are the spellings that say no to a flag without a value.
    """

    name: str
    spellings: tuple[str, ...]
    off: tuple[str, ...] = ()
    takes_value: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A flag with its value, or one token that placer passes on unread.

    ``text`` is what was written, blanks before it included. ``value`` of a flag that
    takes none is ``"on"`` or ``"off"``; it is ``None`` for a token passed on, and for
    a ``-fa`` without a value, which builds before August 2025 took.
    """

    text: str
    option: Option | None = None
    value: str | None = None

    @property
    def name(self) -> str | None:
        """The name of the flag, ``None`` for a token passed on."""
        return None if self.option is None else self.option.name


def _flag(*spellings: str) -> Option:
    return Option(name=spellings[0], spellings=spellings)


def _switch(*spellings: str, off: tuple[str, ...] = ()) -> Option:
    return Option(name=spellings[0], spellings=spellings, off=off, takes_value=False)


# common/arg.cpp, in its order; the line is that of the first spelling.
OPTIONS = (
    _flag("-t", "--threads"),  # 1515
    _flag("-tb", "--threads-batch"),  # 1525
    _flag("-c", "--ctx-size"),  # 1637
    _flag("-b", "--batch-size"),  # 1659
    _flag("-ub", "--ubatch-size"),  # 1666
    _switch("--swa-full"),  # 1680
    _flag("-cram", "--cache-ram"),  # 1706
    _switch("-kvu", "--kv-unified", off=("-no-kvu", "--no-kv-unified")),  # 1714
    _flag("-fa", "--flash-attn"),  # 1744
    _switch("-kvo", "--kv-offload", off=("-nkvo", "--no-kv-offload")),  # 2404
    _switch("--repack", off=("-nr", "--no-repack")),  # 2412
    _switch("--no-host"),  # 2420
    _flag("-ctk", "--cache-type-k"),  # 2427
    _flag("-ctv", "--cache-type-v"),  # 2440
    _flag("-np", "--parallel"),  # 2534
    _flag("--rpc"),  # 2630
    _switch("--mlock"),  # 2639
    _switch("--mmap", off=("--no-mmap",)),  # 2647
    _switch("-dio", "--direct-io", off=("-ndio", "--no-direct-io")),  # 2656
    _flag("-lm", "--load-mode"),  # 2665
    _flag("-dev", "--device"),  # 2699
    _flag("-ot", "--override-tensor"),  # 2715
    _switch("-cmoe", "--cpu-moe"),  # 2721
    _flag("-ncmoe", "--n-cpu-moe"),  # 2728
    _flag("-ngl", "--gpu-layers", "--n-gpu-layers"),  # 2744
    _flag("-sm", "--split-mode"),  # 2762
    _flag("-ts", "--tensor-split"),  # 2786
    _flag("-mg", "--main-gpu"),  # 2813
    _flag("-fit", "--fit"),  # 2823
    _flag("-fitt", "--fit-target"),  # 2851
    _flag("-fitc", "--fit-ctx"),  # 2876
    _switch("--op-offload", off=("--no-op-offload",)),  # 2902
)
_BY_SPELLING = {text: o for o in OPTIONS for text in (*o.spellings, *o.off)}


def option_of(token: str) -> Option | None:
    """The flag that a token spells, as arg.cpp:820-824 looks it up."""
    return _BY_SPELLING.get(_normal(token))


def parse_arguments(
    text: str, *, path: Path | None = None, line: int | None = None
) -> tuple[Argument, ...]:
    """The arguments in a text, whose joined ``text`` is the text less end blanks.

    Raises:
        InputError: a flag that needs a value has none, or is spelled
            ``--flag=value``; with ``path`` and ``line``.
    """
    tokens = _TOKEN.findall(text.strip(" \t"))
    arguments: list[Argument] = []
    at = 0
    while at < len(tokens):
        with placed(path, line):
            argument, at = _read_argument(tokens, at)
        arguments.append(argument)
    return tuple(arguments)


def _read_argument(tokens: list[str], at: int) -> tuple[Argument, int]:
    token = tokens[at].lstrip(" \t")
    option = option_of(token)
    if option is None:
        _refuse_equals(token)
        return Argument(text=tokens[at]), at + 1
    if not option.takes_value:
        value = "off" if _normal(token) in option.off else "on"
        return Argument(text=tokens[at], option=option, value=value), at + 1
    following = tokens[at + 1].lstrip(" \t") if at + 1 < len(tokens) else None
    if option.name == "-fa" and (following is None or following.startswith("-")):
        return Argument(text=tokens[at], option=option), at + 1
    if following is None or option_of(following) is not None:
        hint = "write the value after it, or remove the flag"
        raise InputError(f"{token} has no value", hint=hint)
    text = tokens[at] + tokens[at + 1]
    return Argument(text=text, option=option, value=following), at + 2


def _normal(token: str) -> str:
    return token.replace("_", "-") if token.startswith("--") else token


def _refuse_equals(token: str) -> None:
    flag, equals, _ = token.partition("=")
    if equals and option_of(flag) is not None:
        hint = f"write a space between {flag} and its value"
        raise InputError(f"llama-server does not read {flag}=", hint=hint)


def flag_values(arguments: Iterable[Argument]) -> Mapping[str, str]:
    """The value of each flag by its name, as llama-server ends up with it.

    Every ``-ot`` is joined by commas into one.
    """
    values: dict[str, str] = {}
    for argument in arguments:
        if argument.option is None or argument.value is None:
            continue
        name, value = argument.option.name, argument.value
        if name == "-ot" and name in values:
            value = f"{values[name]},{value}"
        values[name] = value
    return values


def unread_tokens(arguments: Iterable[Argument]) -> tuple[str, ...]:
    """The tokens that are no flag of :data:`OPTIONS`, in their order."""
    return tuple(a.text.strip(" \t") for a in arguments if a.option is None)
