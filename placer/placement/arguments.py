"""EXTRA_ARGS as llama-server reads them.

start.sh passes EXTRA_ARGS through an unquoted shell expansion: tokens are separated
by spaces and tabs, quotes and backslashes mean nothing, and a token with ``*``, ``?``
or ``[`` stays as it is unless a file of the working folder matches it.

llama-server looks a token up whole, after turning ``_`` into ``-`` in one that
begins with ``--``, and takes the next token as its value (common/arg.cpp:822-868):
``--flag=value`` is an invalid argument. The last of a repeated flag wins, except that
``-ot``, ``-cmoe`` and ``-ncmoe`` add to one list (arg.cpp:2757-2775), and
``--spec-type`` to another. Lines are those of llama.cpp build 11434.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError, placed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_TOKEN = re.compile(r"[ \t]*[^ \t]+")
LISTS = frozenset({"-ot", "--spec-type"})  # each value adds to those before
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
    _flag("-t", "--threads"),  # 1520
    _flag("-tb", "--threads-batch"),  # 1530
    _flag("-c", "--ctx-size"),  # 1642
    _flag("-b", "--batch-size"),  # 1672
    _flag("-ub", "--ubatch-size"),  # 1679
    _switch("--swa-full"),  # 1693
    _flag("-cram", "--cache-ram"),  # 1719
    _switch("-kvu", "--kv-unified", off=("-no-kvu", "--no-kv-unified")),  # 1727
    _flag("-fa", "--flash-attn"),  # 1757
    _switch("-kvo", "--kv-offload", off=("-nkvo", "--no-kv-offload")),  # 2417
    _switch("--repack", off=("-nr", "--no-repack")),  # 2425
    _switch("--no-host"),  # 2433
    _flag("-ctk", "--cache-type-k"),  # 2440
    _flag("-ctv", "--cache-type-v"),  # 2453
    _flag("-np", "--parallel"),  # 2547
    _flag("--rpc"),  # 2683
    _switch("--mlock"),  # builds before 11434
    _switch("--mmap", off=("--no-mmap",)),  # builds before 11434
    _switch(
        "-dio", "--direct-io", off=("-ndio", "--no-direct-io")
    ),  # builds before 11434
    _flag("-lm", "--load-mode"),  # 2694
    _flag("-dev", "--device"),  # 2741
    _flag("-ot", "--override-tensor"),  # 2757
    _switch("-cmoe", "--cpu-moe"),  # 2763
    _flag("-ncmoe", "--n-cpu-moe"),  # 2770
    _flag("-ngl", "--gpu-layers", "--n-gpu-layers"),  # 2792
    _flag("-sm", "--split-mode"),  # 2810
    _flag("-ts", "--tensor-split"),  # 2834
    _flag("-mg", "--main-gpu"),  # 2861
    _flag("-fit", "--fit"),  # 2871
    _flag("-fitt", "--fit-target"),  # 2899
    _flag("-fitc", "--fit-ctx"),  # 2924
    _switch("--op-offload", off=("--no-op-offload",)),  # 2950
    # Models that are loaded beside the model.
    _flag("-mm", "--mmproj"),  # 2581
    _switch("--mmproj-offload", off=("--no-mmproj-offload",)),  # 2604
    _flag("-mmdev", "--mmproj-device"),  # 2613
    _flag("-ctkd", "--spec-draft-type-k", "--cache-type-k-draft"),  # 4100
    _flag("-ctvd", "--spec-draft-type-v", "--cache-type-v-draft"),  # 4113
    _flag("-otd", "--spec-draft-override-tensor", "--override-tensor-draft"),  # 4126
    _switch("-cmoed", "--spec-draft-cpu-moe", "--cpu-moe-draft"),  # 4132
    _flag("-ncmoed", "--spec-draft-n-cpu-moe", "--n-cpu-moe-draft"),  # 4139
    _flag("--spec-draft-n-max"),  # 4150
    _flag("-devd", "--spec-draft-device", "--device-draft"),  # 4238
    _flag("-ngld", "--spec-draft-ngl", "--gpu-layers-draft", "--n-gpu-layers-draft"),
    _flag("-md", "--spec-draft-model", "--model-draft"),  # 4266
    _flag("--spec-type"),  # 4274
    _flag("--spec-ngram-mod-n-max"),  # 4294
    _flag("--spec-ngram-simple-size-m"),  # 4325
    _flag("--spec-ngram-map-k-size-m"),  # 4356
    _flag("--spec-ngram-map-k4v-size-m"),  # 4387
    _switch("--spec-default"),  # 4748
)
_BY_SPELLING = {text: o for o in OPTIONS for text in (*o.spellings, *o.off)}


def option_of(token: str) -> Option | None:
    """The flag that a token spells, as arg.cpp:825-828 looks it up."""
    return _BY_SPELLING.get(_normal(token))


def parse_arguments(
    text: str, *, path: Path | None = None, line: int | None = None
) -> tuple[Argument, ...]:
    """The arguments in a text, whose joined ``text`` is the text less end blanks.

    Raises:
        InputError: a flag that needs a value has none, or is spelled
            ``--flag=value``; with ``path`` and ``line``.
    """
    with placed(path, line):
        return read_tokens(_TOKEN.findall(text.strip(" \t")))


def read_tokens(tokens: Sequence[str]) -> tuple[Argument, ...]:
    """The arguments that whole tokens are; a token may hold blanks, as a path may.

    Raises:
        InputError: as for ``parse_arguments``.
    """
    arguments: list[Argument] = []
    at = 0
    while at < len(tokens):
        argument, at = _read_argument(tokens, at)
        arguments.append(argument)
    return tuple(arguments)


def _read_argument(tokens: Sequence[str], at: int) -> tuple[Argument, int]:
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

    Every ``-ot`` is joined by commas into one, and so is every ``--spec-type``.
    """
    values: dict[str, str] = {}
    for argument in arguments:
        if argument.option is None or argument.value is None:
            continue
        name, value = argument.option.name, argument.value
        if name in LISTS and name in values:
            value = f"{values[name]},{value}"
        values[name] = value
    return values


def unread_tokens(arguments: Iterable[Argument]) -> tuple[str, ...]:
    """The tokens that are no flag of :data:`OPTIONS`, in their order."""
    return tuple(a.text.strip(" \t") for a in arguments if a.option is None)
