"""``-ot``: understood in every spelling, written in the shortest.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement.layer_regex import layers_regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from placer.placement.placement import TensorException

BLOCK_NAME = re.compile(r"^blk\.(\d+)\.(.+)$")
# ECMAScript knows these inside a class; Python's re does not.
POSIX_CLASSES = {"[:digit:]": "0-9", "[:alpha:]": "a-zA-Z", "[:alnum:]": "0-9a-zA-Z"}
EXPERTS = r"ffn_(up|down|gate|gate_up)_(ch|)exps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One ``pattern=buffer`` of ``-ot``."""

    pattern: str
    buffer: str

    @property
    def regex(self) -> re.Pattern[str]:
        """The pattern as Python reads it.

        Raises:
            InputError: it is no regular expression.
        """
        text = self.pattern
        for name, chars in POSIX_CLASSES.items():
            text = text.replace(name, chars)
        try:
            return re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"-ot pattern {self.pattern!r} is no regular expression: {error}",
                hint="mend the pattern",
            ) from None

    def __str__(self) -> str:
        return f"{self.pattern}={self.buffer}"


def parse_overrides(text: str) -> tuple[Override, ...]:
    """The overrides of one ``-ot`` value, split as the engine splits it.

    At ``,`` first, then each at its first ``=``: arg.cpp:252.

    Raises:
        InputError: a part without ``=``.
    """
    overrides = []
    for part in text.split(","):
        pattern, equals, buffer = part.partition("=")
        if not equals or not buffer:
            raise InputError(
                f"-ot part {part!r} does not say where to",
                hint="write PATTERN=BUFFER, with no comma inside the pattern",
            )
        overrides.append(Override(pattern=pattern, buffer=buffer))
    return tuple(overrides)


def buffer_of_tensors(
    overrides: Sequence[Override], names: Iterable[str]
) -> dict[str, str]:
    """The buffer of each tensor that an override matches; the first match wins.

    Source: std::regex_search over the full name, llama-model-loader.cpp:1239.
    """
    rules = [(override.regex, override.buffer) for override in overrides]
    found: dict[str, str] = {}
    for name in names:
        for regex, buffer in rules:
            if regex.search(name):
                found[name] = buffer
                break
    return found


def minimal_overrides(
    exceptions: Iterable[TensorException], names: Sequence[str]
) -> tuple[Override, ...]:
    """The shortest overrides that put exactly these tensors where they belong.

    Args:
        exceptions: tensors and their buffers.
        names: every tensor of the model; none but the exceptions may match.
    """
    by_buffer: dict[str, list[str]] = defaultdict(list)
    for exception in sorted(exceptions):
        by_buffer[exception.buffer].append(exception.tensor)
    return tuple(
        Override(pattern=pattern, buffer=buffer)
        for buffer, tensors in by_buffer.items()
        for pattern in _patterns(tensors, names)
    )


def _patterns(tensors: Sequence[str], names: Sequence[str]) -> list[str]:
    """Patterns that match these tensors and no other."""
    wanted = set(tensors)
    if _matches("exps", names) == wanted:
        return ["exps"]
    layers_by_suffixes: dict[frozenset[str], list[int]] = defaultdict(list)
    patterns = []
    for layer, suffixes in _suffixes_by_layer(tensors).items():
        layers_by_suffixes[suffixes].append(layer)
    for suffixes, layers in layers_by_suffixes.items():
        block = rf"blk\.{layers_regex(layers)}\."
        group = {f"blk.{layer}.{suffix}" for layer in layers for suffix in suffixes}
        patterns.append(_shortest(block, suffixes, group, names))
    outer = [name for name in tensors if not BLOCK_NAME.match(name)]
    return patterns + [f"^{re.escape(name)}$".replace("$", "") for name in outer]


def _shortest(
    block: str, suffixes: frozenset[str], group: set[str], names: Sequence[str]
) -> str:
    """The shortest pattern that matches these tensors of these layers and no other."""
    stems = {suffix.rpartition(".")[0] or suffix for suffix in suffixes}
    tails = ["", ".*exps", "ffn_.*_exps", EXPERTS, _alternation(stems)]
    inner = {stem.removeprefix("ffn_").removesuffix("_exps") for stem in stems}
    if {f"ffn_{part}_exps" for part in inner} == stems:
        tails.append(f"ffn_{_alternation(inner)}_exps")
    exact = block + _alternation(suffixes)
    fitting = [block + tail for tail in tails if _matches(block + tail, names) == group]
    return min([*fitting, exact], key=len)


def _alternation(words: Iterable[str]) -> str:
    escaped = sorted(re.escape(word) for word in words)
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _suffixes_by_layer(tensors: Iterable[str]) -> Mapping[int, frozenset[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for name in tensors:
        match = BLOCK_NAME.match(name)
        if match is not None:
            found[int(match[1])].add(match[2])
    return {layer: frozenset(suffixes) for layer, suffixes in found.items()}


def _matches(pattern: str, names: Sequence[str]) -> set[str]:
    regex = re.compile(pattern)
    return {name for name in names if regex.search(name)}
