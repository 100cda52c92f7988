"""Tokens drafted ahead: what ``--spec-type`` and its flags ask of memory.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement.flags import whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

# Drafts by the NextN layers of the model itself, which are not loaded otherwise.
NEXTN = "draft-mtp"
# Drafts that are taken back state by state: need_n_rs_seq, common.h:399.
TAKEN_BACK = frozenset({NEXTN, "draft-eagle3", "draft-dflash", "draft-dspark"})
BY_MODEL = TAKEN_BACK | {"draft-simple"}
N_MAX_DEFAULT = 3  # common.h:329
# Kinds that guess from what was seen: the flag of their longest guess, and its default,
# by common.h:357 and the lines behind it.
BY_N_GRAM = {
    "ngram-simple": ("--spec-ngram-simple-size-m", 48),
    "ngram-map-k": ("--spec-ngram-map-k-size-m", 48),
    "ngram-map-k4v": ("--spec-ngram-map-k4v-size-m", 48),
    "ngram-mod": ("--spec-ngram-mod-n-max", 64),
}
N_GRAM_CACHE, N_GRAM_CACHE_TOKENS = "ngram-cache", 8
KINDS = BY_MODEL | BY_N_GRAM.keys() | {N_GRAM_CACHE}


def spec_types(flags: Mapping[str, str]) -> frozenset[str]:
    """The kinds of drafting that are on.

    Raises:
        InputError: llama-server knows no such kind.
    """
    kinds = set(flags.get("--spec-type", "none").split(",")) - {"none"}
    for kind in sorted(kinds - KINDS):
        raise InputError(
            f"--spec-type {kind!r} is no kind of drafting",
            hint=f"there are {', '.join(sorted(KINDS))}",
        )
    if "--spec-default" in flags:
        kinds.add("ngram-mod")  # arg.cpp:4751
    return frozenset(kinds)


def drafted_tokens(flags: Mapping[str, str]) -> int:
    """Tokens that a slot may have to check at once: common_speculative_n_max.

    Source: speculative.cpp:2396.

    Raises:
        InputError: a number is none.
    """
    kinds = spec_types(flags)
    most = [_n_max(flags)] if kinds & BY_MODEL else [0]
    for kind in sorted(kinds & BY_N_GRAM.keys()):
        flag, default = BY_N_GRAM[kind]
        most.append(whole_number(flag, flags.get(flag, str(default))))
    if N_GRAM_CACHE in kinds:
        most.append(N_GRAM_CACHE_TOKENS)
    return max(most)


def kept_states(flags: Mapping[str, str]) -> int:
    """Recurrent states kept beside a slot's newest, to take drafts back.

    Raises:
        InputError: a number is none.
    """
    return _n_max(flags) if spec_types(flags) & TAKEN_BACK else 0


def _n_max(flags: Mapping[str, str]) -> int:
    flag = "--spec-draft-n-max"
    return whole_number(flag, flags.get(flag, str(N_MAX_DEFAULT)))
