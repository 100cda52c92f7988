"""What a cache type costs: how far it moves what the model expects to come next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Of a text so long, at so many places of its later half.
N_TOKENS, PLACES = 512, 32
LEAST_PROBABILITY = 1e-9
TEXT = """\
The harbour at Skerry Point was built for herring, and when the herring left it was \
kept for the ferry, which has never been on time. Every morning at six the keeper of \
the light walks down to the slip, measures the height of the water against a painted \
board, and writes three numbers in a book: the tide, the wind, and the number of gulls \
on the roof of the net store. Nobody asked for the gulls. His grandfather began to \
count them in 1911, and since then there have been four keepers and some forty \
thousand entries, all in the same hand, or so it looks, because each of them learned \
to write from the one before.

Last spring a student came from the mainland with a small computer and asked whether \
she might copy the book. She had read that birds know of storms before the barometer \
does. If that is so, she said, then the roof of the net store is an instrument, and \
nobody has ever read it. The keeper made tea and thought about this. He said that she \
was welcome to copy what she liked, but that she should know one thing first: on days \
with a strong wind from the north he could not see the roof at all, and so he had \
always written down the number from the day before.

She laughed, and then she stopped laughing, because it meant that the storms were \
exactly where the numbers were not. "So the book tells you nothing," she said. "It \
tells you when I could not see," said the keeper. "That is not nothing. If the same \
number stands there twice, there was wind from the north, and you can trust that more \
than the other two columns, which I write with cold fingers." They went through the \
year 1953 together, line by line, with a ruler. In the last week of January the number \
was thirty-one for six days running. Then there is a blank page, and after the blank \
page the entries go on in February with a count of two.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far a cache type is from the one that it is held to.

    Attributes:
        type_k: of the keys.
        type_v: of the values.
        divergence: nats by which it expects something else, the mean over all places;
            at least so much, since only the likeliest tokens are known.
        agreement: share of the places at which the likeliest token is the same.
        places: at which both were asked.
    """

    type_k: str
    type_v: str
    divergence: float
    agreement: float
    places: int


def quality_of(
    types: tuple[str, str],
    said: Sequence[Mapping[int, float]],
    reference: Sequence[Mapping[int, float]],
) -> Quality:
    """The quality of keys and values in these types.

    Args:
        types: of the keys and of the values.
        said: what is expected with them, place by place: token id -> logarithm of its
            probability, the likeliest tokens.
        reference: what is expected with the types that they are held to.
    """
    pairs = list(zip(reference, said, strict=True))
    same = [max(a, key=a.__getitem__) == max(b, key=b.__getitem__) for a, b in pairs]
    return Quality(
        type_k=types[0],
        type_v=types[1],
        divergence=fmean(divergence(ours, theirs) for ours, theirs in pairs),
        agreement=fmean(same),
        places=len(pairs),
    )


def divergence(true: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Kullback-Leibler, in nats, with all tokens that only one of them names as one."""
    pairs = [(math.exp(true[t]), math.exp(other[t])) for t in true.keys() & other]
    rest = [max(1 - sum(column), 0.0) for column in zip(*pairs, strict=True)]
    pairs.append((rest[0], rest[1]) if rest else (1.0, 0.0))
    return max(sum(p * _log_ratio(p, q) for p, q in pairs), 0.0)


def _log_ratio(p: float, q: float) -> float:
    return math.log(max(p, LEAST_PROBABILITY) / max(q, LEAST_PROBABILITY))
