"""Which settings are tried: sensible values around where somebody starts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.tune.knobs import (
    AUTO,
    OWN,
    PLACEMENT,
    PLANNED,
    SWITCH,
    Settings,
    is_quantised,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement

LEAST_UBATCH, MOST_UBATCH = 128, 4096
USUAL_BATCH = 2048
# Backends that had buffers split by rows in some build: ggml_backend_split_buffer_type.
BY_ROWS = frozenset({"CUDA", "ROCm", "MUSA", "SYCL"})
# llm_arch_supports_sm_tensor, llama-arch.cpp:1196, in GGUF's spelling.
NOT_BY_TENSORS = frozenset(
    "grok mpt plamo2 minicpm3 gemma3n mamba mamba2 jamba falcon-h1 olmo2 olmoe "
    "deepseek2 deepseek32 glm-dsa bitnet t5 nemotron_h nemotron_h_moe granitehybrid "
    "minimax-m2 kimi-linear mistral4".split()
)
# So many settings are looked through for one that was not tried; more are sampled.
MOST_LISTED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What may be tried.

    Attributes:
        start: a value for every knob, where it starts.
        values: of each knob that varies, all that it may have, the start's among them.
        is_mla: whether keys and values share one type.
    """

    start: Settings
    values: Mapping[str, tuple[str, ...]]
    is_mla: bool = False

    @property
    def size(self) -> int:
        """Combinations, those among them that amount to the same or are illegal."""
        return prod(len(values) for values in self.values.values())

    def settled(self, asked: Settings) -> dict[str, str]:
        """The settings that some values amount to, those that follow others included.

        A logical batch is never smaller than the physical one; values are cached as
        keys are, and prompts read by as many threads as write, where nobody varies
        them apart; and the placement of models.conf is of its own settings alone.
        """
        found = {**self.start, **asked}
        found["b"] = str(max(int(found["b"]), int(found["ub"])))
        for leader, follower in (("ctk", "ctv"), ("t", "tb")):
            if follower not in self.values and found[leader] != self.start[leader]:
                found[follower] = found[leader]
        if self._is_moved(found):
            found[PLACEMENT] = PLANNED
        return found

    def _is_moved(self, settings: Settings) -> bool:
        return any(
            value != self.start[name]
            for name, value in settings.items()
            if name != PLACEMENT
        )

    def objection(self, settings: Settings) -> str | None:
        """Why the engine would not take them together; None where it would."""
        if settings["fa"] == "off" and is_quantised(settings["ctv"]):
            return f"values in {settings['ctv']} need flash attention"
        if self.is_mla and settings["ctk"] != settings["ctv"]:
            return "keys and values of this model have one type"
        if settings["fa"] == "off" and settings["sm"] == "tensor":
            return "-sm tensor needs flash attention"
        return None

    def untried(self, tried: set[str], seed: int) -> dict[str, str] | None:
        """Values that amount to something new; None where there seem to be none."""
        rng = random.Random(seed)  # noqa: S311 - nothing is kept secret
        for asked in self._some(rng):
            settings = self.settled(asked)
            if key_of(settings) not in tried and self.objection(settings) is None:
                return asked
        return None

    def _some(self, rng: random.Random) -> Iterator[dict[str, str]]:
        names = list(self.values)
        if self.size <= MOST_LISTED:
            listed = list(product(*self.values.values()))
            rng.shuffle(listed)
            yield from (dict(zip(names, one, strict=True)) for one in listed)
            return
        drawn = iter(lambda: [rng.choice(v) for v in self.values.values()], None)
        for one in islice(drawn, MOST_LISTED):
            yield dict(zip(names, one, strict=True))


def key_of(settings: Settings) -> str:
    """The same for the same settings."""
    return " ".join(f"{name}={settings[name]}" for name in sorted(settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where tuning starts, and what decides what is worth varying.

    Attributes:
        settings: a value for every knob.
        ctx: tokens of context.
        shape: the model.
        machine: the devices.
        placement: as it is planned for these settings; None where nothing fits.
        cores: of the CPU: those that are real, and those that it claims.
    """

    settings: Settings
    ctx: int
    shape: ModelShape
    machine: Machine
    placement: Placement | None
    cores: tuple[int, int]

    @property
    def uses_cpu(self) -> bool:
        """Whether weights are computed with on the CPU."""
        placement = self.placement
        if placement is None:
            return True
        is_partial = placement.n_gpu_layers < self.shape.n_slots
        return is_partial or any(e.buffer == "CPU" for e in placement.exceptions)

    def space(self, vary: Mapping[str, tuple[str, ...]], *, only: bool) -> Space:
        """What is worth trying.

        Args:
            vary: values that the user names, instead of the usual ones.
            only: whether nothing else is varied.

        Raises:
            InputError: the user names what cannot be varied here.
        """
        for mode in set(vary.get("sm", ())) - {"layer"}:
            problem = self._objection_to(mode)
            if problem is not None:
                raise InputError(
                    f"-sm {mode}: {problem}", hint="leave it out of --vary"
                )
        chosen = {**({} if only else self._usual()), **vary}
        values = {
            name: tuple(dict.fromkeys((self.settings[name], *found)))
            for name, found in chosen.items()
        }
        if self.settings[PLACEMENT] == OWN:
            values[PLACEMENT] = (OWN, PLANNED)
        values = {name: found for name, found in values.items() if len(found) > 1}
        return Space(start=self.settings, values=dict(values), is_mla=self.shape.is_mla)

    def _usual(self) -> dict[str, tuple[str, ...]]:
        """Values next to those of the start, by knob."""
        found = {
            "ub": self._batches("ub", (0.5, 1, 2, 4), LEAST_UBATCH, MOST_UBATCH),
            "b": self._batches("b", (1, 2), USUAL_BATCH, 2 * MOST_UBATCH),
            "ctk": ("f16", *(["q8_0"] if self.shape.takes_cache_blocks else [])),
            "fa": ("on",) if self.settings["fa"] == "off" else ("off",),
        }
        if self.uses_cpu:
            real, claimed = self.cores
            counts = (str(n) for n in (max(real // 2, 1), claimed) if n != real)
            found["t"] = found["tb"] = (AUTO, *counts)
            found["op-offload"] = SWITCH
        by_backend = {device.backend for device in self.machine.devices} <= BY_ROWS
        modes = [m for m in ("row", "tensor") if self._objection_to(m) is None]
        if by_backend and modes:
            found["sm"] = tuple(modes)
        return found

    def _batches(
        self, name: str, factors: tuple[float, ...], least: int, most: int
    ) -> tuple[str, ...]:
        """Multiples of the start's, no more than there is context to read."""
        now = int(self.settings[name])
        sizes = {int(now * factor) for factor in factors} | {least}
        return tuple(str(n) for n in sorted(sizes) if least <= n <= min(most, self.ctx))

    def _objection_to(self, mode: str) -> str | None:
        """Why the model cannot be split so; None where the engine may."""
        placement = self.placement
        n_used = 0 if placement is None else sum(n > 0 for n in placement.split)
        if n_used < 2 or self.uses_cpu:
            return "it is for a model that lies on two devices or more, all of it"
        backends = {device.backend for device in self.machine.devices}
        if mode == "row" and not backends <= BY_ROWS:
            return f"no build of {', '.join(sorted(backends))} splits by rows"
        if mode == "tensor" and "RPC" in backends:
            return "RPC devices cannot share a tensor"
        if mode == "tensor" and self.shape.architecture in NOT_BY_TENSORS:
            return f"not implemented for {self.shape.architecture}"
        return None
