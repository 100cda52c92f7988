"""What the flags of a launch ask of a fake engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from placer.placement import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Every spelling that the fake understands, to the shortest; common/arg.cpp.
WITH_VALUE = {
    spelling: names.split()[0]
    for names in (
        "-m --model",
        "-mm --mmproj",
        "-c --ctx-size",
        "-b --batch-size",
        "-ub --ubatch-size",
        "-np --parallel",
        "-ctk --cache-type-k",
        "-ctv --cache-type-v",
        "-fa --flash-attn",
        "-ngl --gpu-layers --n-gpu-layers",
        "-ts --tensor-split",
        "-ot --override-tensor",
        "-sm --split-mode",
        "-mg --main-gpu",
        "-ncmoe --n-cpu-moe",
        "-fit --fit",
        "-fitt --fit-target",
        "-lv --verbosity --log-verbosity",
        "-a --alias",
        "-t --threads",
        "-tb --threads-batch",
        "-cram --cache-ram",
        "--host",
        "--port",
        "--rpc",
    )
    for spelling in names.split()
}
WITHOUT_VALUE = {
    spelling: names.split()[0]
    for names in (
        "-kvu --kv-unified",
        "-no-kvu --no-kv-unified",
        "-cmoe --cpu-moe",
        "-nkvo --no-kv-offload",
        "--no-op-offload",
        "--swa-full",
        "--no-warmup",
        "--metrics",
        "--jinja",
        "-v --verbose --log-verbose",
        "--version",
        "--list-devices",
    )
    for spelling in names.split()
}
# Read before the command line, as the engine does: a leak shows.
VARIABLES = {
    "LLAMA_ARG_CTX_SIZE": "-c",
    "LLAMA_ARG_N_GPU_LAYERS": "-ngl",
    "LLAMA_ARG_TENSOR_SPLIT": "-ts",
    "LLAMA_ARG_OVERRIDE_TENSOR": "-ot",
}
PLACEMENT = ("-ngl", "-ts", "-ot", "-sm", "-mg", "-ncmoe", "-cmoe")
SLOTS_AUTO = 4
ALL_LEVELS = 2**31 - 1


class UsageError(Exception):
    """A flag that the engine refuses; the text is its last word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The flags of one launch.

    Attributes:
        values: the last value of each flag, by its shortest spelling.
        placement_args: those of placer's ``placement_from_args``, in order.
    """

    values: Mapping[str, str]
    placement_args: tuple[str, ...]

    def whole(self, name: str, default: int) -> int:
        """The value of a flag as a whole number."""
        text = self.values.get(name, str(default))
        try:
            return int(text)
        except ValueError:
            raise UsageError(f'error while handling argument "{name}": stoi') from None

    @property
    def level(self) -> int:
        """Lines up to this level are written."""
        return ALL_LEVELS if "-v" in self.values else self.whole("-lv", 3)

    def factor(self, pace: Mapping[str, float]) -> float | None:
        """Of the time of a token, by the flags; None where nothing depends on them."""
        if not pace:
            return None
        said = {f"{name} {value}".strip() for name, value in self.values.items()}
        return prod(value for flag, value in pace.items() if flag in said)

    @property
    def has_projector(self) -> bool:
        """Whether it understands images."""
        return "-mm" in self.values

    @property
    def fits(self) -> bool:
        """Whether it measures itself before it loads."""
        return self.values.get("-fit", "on") == "on"

    def workload(self, context_length: int) -> Workload:
        """What the server must be able to do."""
        slots = self.whole("-np", -1)
        return Workload(
            ctx=self.whole("-c", 0) or context_length,
            batch=self.whole("-b", 2048),
            ubatch=self.whole("-ub", 512),
            parallel=SLOTS_AUTO if slots < 0 else slots,
            kv_unified="-kvu" in self.values or slots < 0,
            type_k=self.values.get("-ctk", "f16"),
            type_v=self.values.get("-ctv", "f16"),
            flash_attn=self.values.get("-fa", "auto"),
            swa_full="--swa-full" in self.values,
            kv_offload="-nkvo" not in self.values,
            op_offload="--no-op-offload" not in self.values,
        )


def parse_args(args: Sequence[str]) -> Asked:
    """The flags, those of the environment first.

    Raises:
        UsageError: one that is not known, or stands without its value.
    """
    given = [
        token
        for name, flag in VARIABLES.items()
        if name in os.environ
        for token in (flag, os.environ[name])
    ]
    tokens = iter([*given, *args])
    values: dict[str, str] = {}
    placement: list[str] = []
    for token in tokens:
        if token in WITH_VALUE:
            name, value = WITH_VALUE[token], next(tokens, None)
            if value is None:
                raise UsageError(f"error: {token}: expected value for argument")
            pair = [name, value]
        elif token in WITHOUT_VALUE:
            name, value = WITHOUT_VALUE[token], ""
            pair = [name]
        else:
            raise UsageError(f"error: invalid argument: {token}")
        values[name] = value
        if name in PLACEMENT:
            placement += pair
    return Asked(values=values, placement_args=tuple(placement))
