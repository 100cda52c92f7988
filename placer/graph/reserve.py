"""The engine's reservation of compute buffers, played through without an engine.

Mirrors llama_context::sched_reserve, llama-context.cpp:617 of llama.cpp build 11434:
a graph of one full physical batch is built, cut and allocated; a graph of one token a
slot is built and cut for its splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph.allocate import Allocator
from placer.graph.backends import host_rules, rules_of
from placer.graph.build import Batch, Build, Layout
from placer.graph.families import graph_of
from placer.graph.schedule import Scheduler

if TYPE_CHECKING:
    from placer.graph.backends import BackendRules
    from placer.graph.schedule import Schedule
    from placer.model import ModelShape
    from placer.placement import Workload

# GGML_SCHED_MAX_COPIES, ggml-backend.cpp:911
PIPELINE_COPIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What a graph takes.

    Attributes:
        device_bytes: compute buffer of each of the layout's devices.
        host_bytes: the one of the CPU, pinned or not.
        graph_splits: of the graph of a full batch, and of one token a slot.
    """

    device_bytes: tuple[int, ...]
    host_bytes: int
    graph_splits: tuple[int, int]


def reserve(
    shape: ModelShape, workload: Workload, layout: Layout, *, pipelined: bool
) -> Reserve:
    """The compute buffers and graph splits of a placement.

    Args:
        shape: the model.
        workload: what is asked.
        layout: where everything lies.
        pipelined: whether batches overlap over the devices, which takes copies of
            all that crosses from one to another.

    Raises:
        UnknownGraphError: placer has no graph for the architecture.
    """
    rules = [rules_of(name) for name in layout.backends]
    scheduler = Scheduler(
        rules,
        op_offload=workload.op_offload,
        n_copies=PIPELINE_COPIES if pipelined else 1,
    )
    first = layout.backends[0] if layout.backends else None

    def scheduled(batch: Batch) -> Schedule:
        return scheduler.split(graph_of(Build(shape, workload, layout, batch)))

    prefill = scheduled(prefill_batch(workload))
    n_bytes = _allocated(prefill, [*rules, host_rules(first)])
    slots = workload.parallel
    decode = scheduled(Batch(n_tokens=slots, n_seqs=slots, n_outputs=slots))
    return Reserve(
        device_bytes=n_bytes[:-1],
        host_bytes=n_bytes[-1],
        graph_splits=(len(prefill.splits), len(decode.splits)),
    )


def _allocated(
    schedule: Schedule, rules: list[BackendRules]
) -> tuple[int, ...]:
    return Allocator(rules).run(schedule)


def prefill_batch(workload: Workload) -> Batch:
    """One full physical batch, a multiple of the slots: llama-context.cpp:2531."""
    slots = workload.parallel
    n_tokens = min(workload.ctx, workload.n_ubatch)
    n_outputs = min(n_tokens, slots)
    n_tokens = -(-n_tokens // slots) * slots
    return Batch(
        n_tokens=n_tokens, n_seqs=slots, n_outputs=n_outputs, is_held=False
    )
