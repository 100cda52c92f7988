"""What each part of a model costs in time on each home, in seconds.

A home is a device or, as the last one, the CPU. Decoding is sequential: the time of a
token is the sum over all tensors of what is read of each, plus the starts of operations
and the hops between homes. So is the time of a physical batch of a prompt, except where
the engine overlaps batches over devices (``placer.speed.predict``). Both are sums, and
that is what makes an exact packer possible. Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from placer.graph.backends import OFFLOAD_MIN_BATCH, rules_of
from placer.memory.context import context_bytes_by_layer, kv_cells
from placer.model.shape import is_expert
from placer.speed.times import Times

if TYPE_CHECKING:
    from placer.gguf import Tensor
    from placer.machine import Machine
    from placer.model import LayerShape, ModelShape
    from placer.placement import Placement, Workload
    from placer.speed.rates import Rates

# In the order in which the engine multiplies with them: llama-graph.cpp:2236 to 2360,
# where the gated product's first operand is the gate.
GROUP_ORDER = ("gate", "up", "gate_up", "down")
# Between the CPU and the device that takes its matrices, in each layer of the CPU: a
# batch goes there and back for nearly each of them.
OFFLOADED_HOPS = 12
# Operations that a layer starts for each of its tensors, and more where it keeps a
# recurrent state: counted on the graphs of ten architectures, 2.0 to 2.6.
NODES_PER_TENSOR = 2.3
NODES_OF_STATE = 30
# What a token takes with it to experts elsewhere, and what a remote device is told of a
# layer that is not all there: seen on the wire of build 10434.
TORN_TENSORS = 2
GRAPH_BYTES = 39_000
# Bytes of one element of what passes from layer to layer.
ACTIVATION_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tensors of a layer's experts that move together: a matrix and its bias.

    Attributes:
        name: ``"ffn_up_exps"``.
        tensors: full names.
    """

    name: str
    tensors: tuple[Tensor, ...]

    @property
    def rank(self) -> int:
        """Its place in the order of the engine."""
        stem = self.name.removeprefix("ffn_").rsplit("_", 1)[0]
        return GROUP_ORDER.index(stem) if stem in GROUP_ORDER else 0


def groups_of(layer: LayerShape) -> tuple[Group, ...]:
    """The layer's experts, matrix by matrix, in the order of their use."""
    found: dict[str, list[Tensor]] = {}
    for tensor in layer.tensors:
        if is_expert(tensor.name):
            found.setdefault(tensor.name.split(".")[2], []).append(tensor)
    groups = [Group(name=name, tensors=tuple(ts)) for name, ts in found.items()]
    return tuple(sorted(groups, key=lambda g: ("chexps" in g.name, g.rank)))


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """Seconds of everything, everywhere.

    Attributes:
        shape: the model.
        workload: what is asked.
        rates: of the homes.
        depth: tokens that are in the cache already.
        offloader: the device that reads prompts with weights of the CPU, None where
            there is none.
    """

    shape: ModelShape
    workload: Workload
    rates: Rates
    depth: int
    offloader: int | None

    @cached_property
    def groups(self) -> tuple[tuple[Group, ...], ...]:
        """The groups of each slot; the output has none."""
        return (*(groups_of(layer) for layer in self.shape.layers), ())

    def tensors_of(self, slot: int) -> tuple[Tensor, ...]:
        """What may be elsewhere than its slot; nothing of the output."""
        is_layer = slot < self.shape.n_layer_all
        return self.shape.layers[slot].tensors if is_layer else ()

    @property
    def n_tokens(self) -> int:
        """Of a physical batch."""
        return min(self.workload.n_ubatch, self.workload.ctx)

    @cached_property
    def _active(self) -> float:
        """The share of the experts that one token visits."""
        return self.shape.n_expert_used / max(self.shape.n_expert, 1)

    @cached_property
    def _visited(self) -> float:
        """The share of the experts that a batch visits."""
        return 1.0 - (1.0 - self._active) ** self.n_tokens

    @cached_property
    def _context(self) -> tuple[int, ...]:
        """Bytes of context that each layer reads for a token at the asked depth."""
        held = context_bytes_by_layer(self.shape, self.workload)
        if held is None:
            return (0,) * self.shape.n_layer_all
        return tuple(
            self._read(layer, n_bytes)
            for layer, n_bytes in zip(self.shape.layers, held, strict=True)
        )

    def _read(self, layer: LayerShape, n_bytes: int) -> int:
        work = self.workload
        state = 4 * layer.recurrent_elements
        rows = max(work.parallel, 1) * (1 + work.kept_states)
        cells = kv_cells(layer, self.shape, work) * work.n_stream
        used = min(self.depth, cells)
        if layer.is_swa and not work.swa_full:
            used = min(used, self.shape.n_swa)
        # A state is read and written, a cache is only read.
        return 2 * state + max(n_bytes - state * rows, 0) * used // max(cells, 1)

    def slot(self, slot: int, home: int) -> Times:
        """All of a slot but its experts, on a home."""
        key = (self.kinds[slot], home)
        if key not in self._slots:
            self._slots[key] = self._slot(slot, home)
        return self._slots[key]

    def group(self, slot: int, index: int, home: int) -> Times:
        """One group of a slot's experts, on a home."""
        key = (self.kinds[slot], index, home)
        if key not in self._groups:
            self._groups[key] = self._group(self.groups[slot][index], home)
        return self._groups[key]

    @cached_property
    def _slots(self) -> dict[tuple[int, int], Times]:
        return {}

    @cached_property
    def _groups(self) -> dict[tuple[int, int, int], Times]:
        return {}

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """Equal numbers for slots that cost the same everywhere."""
        seen: dict[object, int] = {}
        layers = [seen.setdefault(la.kind, len(seen)) for la in self.shape.layers]
        return (*layers, len(seen))

    def _slot(self, slot: int, home: int) -> Times:
        if slot == self.shape.n_layer_all:
            tensors, context, nodes, layer = self.shape.output_tensors, 0, 2.0, None
        else:
            layer = self.shape.layers[slot]
            tensors, context = layer.tensors, self._context[slot]
            nodes = NODES_PER_TENSOR * len(tensors)
            nodes += NODES_OF_STATE if layer.recurrent_elements else 0
        times = self._started(nodes)
        for tensor in tensors:
            if not is_expert(tensor.name):
                times += self._dense(tensor, home, self._rows_of(slot))
        if layer is None:
            return times
        at = home if self.workload.kv_offload else self.rates.cpu
        times += self._attention(layer, context, at)
        if home == self.rates.cpu and self.offloader is not None:
            once = self.hop(home, self.offloader).prefill_s
            times += Times(prefill_s=OFFLOADED_HOPS * once)
        return times

    def dense(self, tensor: Tensor, home: int) -> Times:
        """One dense tensor of a layer."""
        return self._dense(tensor, home, self.n_tokens)

    def _rows_of(self, slot: int) -> int:
        """Rows of a batch that a slot computes: the output only those with logits."""
        if slot == self.shape.n_layer_all:
            return min(self.workload.n_outputs_max, self.n_tokens)
        return self.n_tokens

    def _started(self, nodes: float) -> Times:
        seconds = nodes * self.rates.calibration.node_s
        return Times(decode_s=seconds, prefill_s=seconds)

    def _dense(self, tensor: Tensor, home: int, n_rows: int) -> Times:
        share = self.rates.calibration.dense_efficiency
        n_bytes = tensor.n_bytes
        reads_s = n_bytes / self.rates.homes[home].bytes_per_s
        flops = 2.0 * tensor.n_elements * n_rows
        prefill_s = self._batch_s(n_bytes, flops, home, share)
        return Times(decode_s=reads_s, prefill_s=prefill_s)

    def _group(self, group: Group, home: int) -> Times:
        rates, cal = self.rates, self.rates.calibration
        n_bytes = sum(t.n_bytes for t in group.tensors)
        reads_s = n_bytes * self._active / rates.homes[home].bytes_per_s
        elements = sum(t.n_elements for t in group.tensors)
        flops = 2.0 * elements * self._active * self.n_tokens
        seen = n_bytes * self._visited
        prefill_s = self._batch_s(seen, flops, home, cal.expert_efficiency)
        return Times(decode_s=reads_s, prefill_s=prefill_s)

    def _batch_s(
        self, n_bytes: float, flops: float, home: int, efficiency: float
    ) -> float:
        """Seconds of a batch with weights of a home.

        Weights of the CPU are copied to a device that computes with them, where one
        does (ggml-backend.cpp:1095); they pass its link for every batch.
        """
        if home == self.rates.cpu and self.offloader is not None:
            device = self.rates.homes[self.offloader]
            link_s = n_bytes / device.link_bytes_per_s
            return link_s + flops / (device.flops_per_s * efficiency)
        place = self.rates.homes[home]
        share = 1.0 if home == self.rates.cpu else efficiency
        return max(n_bytes / place.bytes_per_s, flops / (place.flops_per_s * share))

    def _attention(self, layer: LayerShape, n_bytes: int, home: int) -> Times:
        place, cal = self.rates.homes[home], self.rates.calibration
        share = 1.0 if home == self.rates.cpu else cal.dense_efficiency
        seen = min(self.depth, self.shape.n_swa) if layer.is_swa else self.depth
        width = layer.n_head * (layer.head_dim_k + layer.head_dim_v)
        flops = 2.0 * width * (seen + self.n_tokens / 2) * self.n_tokens
        flops *= layer.has_kv
        return Times(
            decode_s=n_bytes / place.bytes_per_s,
            prefill_s=flops / (place.flops_per_s * share),
        )

    def hop(self, a: int, b: int, *, torn: bool = False) -> Times:
        """What passes from one home to another.

        Between two layers that is a row; within one that is torn also which experts
        it visits, and a remote device is told its part of the graph again.
        """
        row = self.shape.n_embd * ACTIVATION_BYTES
        graph = GRAPH_BYTES if torn and self.rates.homes[b].is_remote else 0
        n = TORN_TENSORS if torn else 1
        return Times(
            decode_s=self.rates.hop_s(a, b, row + graph, n),
            prefill_s=self.rates.hop_s(a, b, row * self.n_tokens + graph, n),
        )

    def seen_at(self, home: int) -> int:
        """Where a prompt's batch is computed with weights of a home."""
        if home == self.rates.cpu and self.offloader is not None:
            return self.offloader
        return home

    def of(self, placement: Placement) -> CostTable:
        """The same for a placement: one GPU alone is the first of its devices."""
        alone = placement.main_gpu
        if alone is None or self.offloader in (None, alone):
            return self
        return replace(self, offloader=alone)


def cost_table(
    shape: ModelShape, workload: Workload, machine: Machine, rates: Rates, depth: int
) -> CostTable:
    """The costs of a model on a machine."""
    takes = workload.op_offload and workload.n_ubatch >= OFFLOAD_MIN_BATCH
    first = machine.devices[0] if machine.devices else None
    offloads = takes and first is not None and rules_of(first.backend).offloads
    return CostTable(
        shape=shape,
        workload=workload,
        rates=rates,
        depth=depth,
        offloader=0 if offloads else None,
    )
