"""Which placements and workloads are compared: a covering design, not the product.

Every model has every kind of placement once. Each comes with a workload whose parts
are drawn so that every kind meets every level of every part, and every two levels of
different parts meet somewhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from placer.memory.context import has_flash_attn
from placer.placement import Workload
from placer.placement.drafting import NEXTN, drafted_tokens, kept_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from placer.model import ModelShape

SEED: Final = 11_434
N_ROWS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question: what would this model hold, so placed, so used?

    Attributes:
        model: name of the model.
        kind: which kind of placement, a key of ``KINDS``.
        placement_args: the placement, as llama-server's flags.
        workload: the rest.
        drafting: flags of drafting, which the workload has understood.
    """

    model: str
    kind: str
    placement_args: tuple[str, ...]
    workload: Workload
    drafting: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        """All flags of the launch, without the model."""
        return (*self.placement_args, *self.workload.args(), *self.drafting)

    @property
    def by_nextn(self) -> bool:
        """Whether NextN layers of the model draft, and are loaded."""
        return NEXTN in self.drafting


def _whole(shares: str) -> Callable[[int], list[str]]:
    return lambda _: ["-ngl", "99", "-ts", shares]


def _moved(pattern: str, buffer: str) -> Callable[[int], list[str]]:
    return lambda n: [*_EVEN(n), "-ot", f"{pattern.format(last=n - 1)}={buffer}"]


_EVEN: Final = _whole("1,1")
#: By name, the flags of a placement for a model of so many layers on two devices.
KINDS: Final[Mapping[str, Callable[[int], list[str]]]] = {
    "one device": lambda _: ["-ngl", "99", "-sm", "none", "-mg", "0"],
    "all on the first": _whole("1,0"),
    "even split": _EVEN,
    "uneven split": _whole("1,3"),
    "half of the layers": lambda n: ["-ngl", str((n + 1) // 2), "-ts", "1,1"],
    "all but the first layer": lambda n: ["-ngl", str(n), "-ts", "2,1"],
    "nothing on a device": lambda _: ["-ngl", "0", "-ts", "1,1"],
    "a layer on the CPU by -ot": _moved(r"blk\.{last}\.", "CPU"),
    "a layer to the other device by -ot": _moved(r"blk\.0\.", "Vulkan1"),
    "tensors on the CPU by -ot": _moved(r"blk\.[0-3]\.ffn_up", "CPU"),
    "tensors to the other device by -ot": _moved(r"blk\.[02]\.ffn_down", "Vulkan1"),
    "experts of half the layers": lambda n: [*_EVEN(n), "-ncmoe", str((n + 1) // 2)],
    "all experts on the CPU": lambda n: [*_EVEN(n), "-cmoe"],
    "the output on the CPU by -ot": _moved(r"^output\.weight", "CPU"),
}

_LAST: Final = tuple(KINDS)[-1]
#: Placements with drafting, and kinds of drafting that need no model.
DRAFTED_KINDS: Final = ("even split", "uneven split", "a layer on the CPU by -ot")
N_GRAMS: Final = ("ngram-mod", "ngram-cache")

#: By name, three levels of each part of a workload; each is a set of its fields.
PARTS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "context": ({"ctx": 4096}, {"ctx": 32_768}, {"ctx": 131_072}),
    "cache type": (
        {},
        {"type_k": "q8_0", "type_v": "q8_0"},
        {"type_k": "q4_0", "type_v": "q4_0"},
    ),
    "slots": (
        {"parallel": 1, "kv_unified": False},
        {"parallel": 4, "kv_unified": True},
        {"parallel": 4, "kv_unified": False},
    ),
    "ubatch": (
        {"batch": 2048, "ubatch": 128},
        {"batch": 2048, "ubatch": 512},
        {"batch": 2048, "ubatch": 2048},
    ),
    "attention": ({"flash_attn": "on"}, {"flash_attn": "auto"}, {"flash_attn": "off"}),
    "cache on": ({}, {}, {"kv_offload": False}),
    "operations on": ({}, {}, {"op_offload": False}),
    "windows": ({}, {}, {"swa_full": True}),
}


@cache
def rows() -> Mapping[str, tuple[Mapping[str, int], ...]]:
    """For each kind of placement three workloads, as the level of each part.

    What two levels have not met by chance meet in the last kind, drawn until they do.
    """
    source = random.Random(SEED)  # noqa: S311 - a design, not a secret
    design = {kind: _drawn(source) for kind in KINDS}
    while not _all_meet(design):
        design[_LAST] = _drawn(source)
    return design


def _drawn(source: random.Random) -> tuple[Mapping[str, int], ...]:
    """Rows in which each part takes each of its levels once."""
    orders = {part: source.sample(range(N_ROWS), N_ROWS) for part in PARTS}
    return tuple(
        {part: order[row] for part, order in orders.items()} for row in range(N_ROWS)
    )


def _all_meet(design: Mapping[str, tuple[Mapping[str, int], ...]]) -> bool:
    """Whether any two levels of different parts are together in some row."""
    wanted = {
        (part, str(level), other, str(other_level))
        for part, other in combinations(PARTS, 2)
        for level in PARTS[part]
        for other_level in PARTS[other]
    }
    met = {
        (part, str(PARTS[part][row[part]]), other, str(PARTS[other][row[other]]))
        for own in design.values()
        for row in own
        for part, other in combinations(PARTS, 2)
    }
    return wanted <= met


def workload_of_row(levels: Mapping[str, int], shape: ModelShape) -> Workload:
    """The workload of a row of the design.

    Values of a quantised cache need fused attention, so without it they stay F16, and
    a latent, which is both keys and values, with them.
    """
    values: dict[str, Any] = {}
    for part, level in levels.items():
        values |= PARTS[part][level]
    if values["flash_attn"] == "off":
        values["type_v"] = "f16"
    workload = Workload(**values)
    if has_flash_attn(shape, workload):
        return workload
    type_k = "f16" if shape.is_mla else workload.type_k
    return replace(workload, type_k=type_k, type_v="f16")


def cases_of(name: str, shape: ModelShape, at: int, n_rows: int = 2) -> Iterator[Case]:
    """The cases of one model.

    Args:
        name: of the model.
        shape: its layers are counted.
        at: its place among the models, which row of the design it begins with.
        n_rows: how many of the three workloads each placement gets.
    """
    n_layer = len([layer for layer in shape.layers if layer.tensors])
    for offset, (kind, place) in enumerate(KINDS.items()):
        for row in range(n_rows):
            levels = rows()[kind][(at + offset + row) % N_ROWS]
            yield Case(
                model=name,
                kind=kind,
                placement_args=tuple(place(n_layer)),
                workload=workload_of_row(levels, shape),
            )
    yield from _drafting_cases(name, shape, at)


def _drafting_cases(name: str, shape: ModelShape, at: int) -> Iterator[Case]:
    """Drafts that are taken back, and drafts without a model, each once."""
    n_layer = shape.n_layer_all
    kinds = (NEXTN if shape.n_layer_nextn else "draft-dflash", N_GRAMS[at % 2])
    for offset, spec in enumerate(kinds):
        kind = DRAFTED_KINDS[(at + offset) % len(DRAFTED_KINDS)]
        drafting = ("--spec-type", spec)
        flags = {"--spec-type": spec}
        levels = rows()[kind][(at + offset) % N_ROWS]
        yield Case(
            model=name,
            kind=kind,
            placement_args=tuple(KINDS[kind](n_layer)),
            workload=replace(
                workload_of_row(levels, shape),
                drafted=drafted_tokens(flags),
                kept_states=kept_states(flags) if shape.takes_states_back else 0,
            ),
            drafting=drafting,
        )
