"""What the load test will measure of one slot alone, by the speed model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from placer.speed import cost_table, predict

if TYPE_CHECKING:
    from placer.engine.loadtest import LoadTest
    from placer.placement import Placement
    from placer.speed import CostTable, Rates, Speed


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Predictions of the launches of one load test.

    Attributes:
        test: what is asked of every launch.
        rates: how fast its machine is.
    """

    test: LoadTest
    rates: Rates

    @property
    def prompt_tokens(self) -> int:
        """What the slot reads alone: a full physical batch, where it has the room."""
        return min(self.test.workload.n_ubatch, self.test.slot_prompt_tokens)

    def speed(self, placement: Placement) -> Speed:
        """Decoding behind that prompt, and how fast the prompt was read.

        It is one batch on an empty cache: there is no other for a pipeline to overlap
        it with.
        """
        machine = self.test.machine
        read = predict(self._empty, placement, machine, pipelined=False)
        said = predict(self.table, placement, machine, pipelined=False)
        return replace(said, prefill=read.prefill)

    @cached_property
    def _empty(self) -> CostTable:
        return self._at(0)

    @cached_property
    def table(self) -> CostTable:
        """What everything costs while that slot decodes."""
        return self._at(self.prompt_tokens)

    def _at(self, depth: int) -> CostTable:
        test = self.test
        asked = replace(test.workload, ubatch=self.prompt_tokens)
        return cost_table(test.shape, asked, test.machine, self.rates, depth)
