"""How many bytes of each backend a schedule's tensors need at once: ggml's allocator.

Mirrors ggml-alloc.c of llama.cpp build 11434: tensors are placed in the order in which
they run, each in the smallest free block that holds it, and given back after their last
reader. In-place operations take over the memory of an operand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph.tensor import GraphTensor
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from placer.graph.backends import BackendRules
    from placer.graph.schedule import Schedule

# ggml_op_can_inplace, ggml-alloc.c:23
IN_PLACE = frozenset(
    """
    FILL SCALE DIAG_MASK_ZERO DIAG_MASK_INF ADD ADD_ID ADD1 SUB MUL DIV SQR SQRT LOG
    UNARY ROPE RMS_NORM CLAMP SOFT_MAX
    """.split()
)
# GGML_VBUFFER_MAX_CHUNKS
MOST_CHUNKS = 16
ENDLESS = 1 << 62


class Chunk:
    """One buffer: its free blocks by offset, and how far it was ever filled."""

    __slots__ = ("free", "size")

    def __init__(self, n_bytes: int) -> None:
        self.free: list[list[int]] = [[0, n_bytes]]  # [offset, bytes]
        self.size = 0


class Arena:
    """The compute memory of one backend: ggml_dyn_tallocr."""

    def __init__(self, rules: BackendRules) -> None:
        self.rules = rules
        self.chunks: list[Chunk] = []

    @property
    def n_bytes(self) -> int:
        """What has to be allocated."""
        return sum(chunk.size for chunk in self.chunks)

    @property
    def state(self) -> object:
        """All that what is allocated next depends on."""
        return [(chunk.size, [*map(tuple, chunk.free)]) for chunk in self.chunks]

    def allocate(self, n_bytes: int) -> tuple[int, int]:
        """A chunk and an offset in it: ggml_dyn_tallocr_alloc."""
        size = pad(n_bytes, self.rules.alignment)
        at, block = self._best_fit(size) or self._last_fit(size) or self._grown(size)
        chunk = self.chunks[at]
        found = chunk.free[block]
        offset = found[0]
        found[0] += size
        found[1] -= size
        if not found[1]:
            del chunk.free[block]
        chunk.size = max(chunk.size, offset + size)
        return at, offset

    def _best_fit(self, size: int) -> tuple[int, int] | None:
        """The smallest block that holds it, the last of each chunk left out."""
        best = None
        for at, chunk in enumerate(self.chunks):
            smallest = ENDLESS * 2  # of this chunk alone, as in the engine
            for block in range(len(chunk.free) - 1):
                room = chunk.free[block][1]
                if size <= room <= smallest:
                    best, smallest = (at, block), room
        return best

    def _last_fit(self, size: int) -> tuple[int, int] | None:
        """The last block of the chunk that has to grow least."""
        best = None
        best_reuse = -ENDLESS * 2
        for at, chunk in enumerate(self.chunks):
            if not chunk.free:
                continue
            offset, room = chunk.free[-1]
            reuse = chunk.size - offset - size
            is_better = (best_reuse < 0 and reuse > best_reuse) or (
                0 <= reuse < best_reuse
            )
            if room >= size and is_better:
                best, best_reuse = (at, len(chunk.free) - 1), reuse
        return best

    def _grown(self, size: int) -> tuple[int, int]:
        room = max(size, self.rules.max_chunk_bytes)
        if len(self.chunks) == MOST_CHUNKS - 1:
            room = ENDLESS
        self.chunks.append(Chunk(room))
        return len(self.chunks) - 1, 0

    def free(self, addr: tuple[int, int], n_bytes: int) -> None:
        """Give a block back, joined with free neighbours."""
        at, offset = addr
        size = pad(n_bytes, self.rules.alignment)
        self.free_exactly(at, offset, size)

    def free_exactly(self, at: int, offset: int, size: int) -> None:
        """Give back what is aligned already: ggml_dyn_tallocr_free_bytes."""
        blocks = self.chunks[at].free
        for index, block in enumerate(blocks):
            if block[0] + block[1] == offset:
                block[1] += size
                if index + 1 < len(blocks) and offset + size == blocks[index + 1][0]:
                    block[1] += blocks.pop(index + 1)[1]
                return
            if offset + size == block[0]:
                block[0] = offset
                block[1] += size
                if index and sum(blocks[index - 1]) == offset:
                    blocks[index - 1][1] += blocks.pop(index)[1]
                return
        index = next((i for i, b in enumerate(blocks) if b[0] > offset), len(blocks))
        blocks.insert(index, [offset, size])


class Allocator:
    """Plays through a schedule: ggml_gallocr_alloc_graph_impl.

    Attributes:
        arenas: the memory of each backend.
        states: what was free before each marked node, by its id.
    """

    def __init__(self, rules: Sequence[BackendRules]) -> None:
        self.arenas = [Arena(r) for r in rules]
        self.states: dict[int, object] = {}
        self._nodes: list[GraphTensor] = []
        self._places: dict[int, int] = {}

    def run(
        self, schedule: Schedule, marked: Collection[GraphTensor] = ()
    ) -> tuple[int, ...]:
        """Bytes that each backend needs, the CPU last.

        Args:
            schedule: the graph, cut.
            marked: nodes before which the state is kept.
        """
        self._nodes = nodes = _with_copies(schedule)
        marks = {id(node) for node in marked}
        for leaf in _leaves(schedule):
            self._allocate(leaf, leaf.backend)
        self._count(nodes)
        for place, node in enumerate(nodes):
            if id(node) in marks:
                self._places[id(node)] = place
                self.states[id(node)] = [arena.state for arena in self.arenas]
            for parent in node.src:
                self._allocate(parent, node.backend)
            self._allocate(node, node.backend)
            for parent in node.src:
                self._release(parent)
        return tuple(arena.n_bytes for arena in self.arenas)

    def trace(self, start: GraphTensor, end: GraphTensor) -> list[object]:
        """What was done from one marked node to another.

        Which operations ran, where their results went, and which tensors they read that
        are never given back.
        """
        places = self._places
        return [
            (node.op, node.home, node.addr, [id(s) for s in node.src if s.is_output])
            for node in self._nodes[places[id(start)] : places[id(end)]]
        ]

    def _count(self, nodes: Iterable[GraphTensor]) -> None:
        for node in nodes:
            if node.view_src is not None and node.op != "NONE":
                node.view_src.n_views += 1
            for src in node.src:
                src.n_children += 1
                if src.is_input:
                    self._allocate(src, node.backend)

    def _allocate(self, node: GraphTensor, backend: int | None) -> None:
        if node.allocated or node.view_src is not None or node.buffer is not None:
            return
        node.allocated = True
        if node.op in IN_PLACE and self._take_over(node):
            return
        node.home = backend or 0
        arena = self.arenas[node.home]
        node.addr = arena.allocate(arena.rules.allocated_bytes(node))

    def _take_over(self, node: GraphTensor) -> bool:
        """Whether an operand's memory serves for the result."""
        for parent in node.src:
            if (
                parent.allocated
                and not parent.is_output
                and parent.n_children == 1
                and parent.n_views == 0
                and parent.type_name == node.type_name
                and parent.ne == node.ne
                and parent.nb == node.nb
            ):
                node.home, node.addr = parent.home, parent.addr
                parent.allocated = False
                return True
        return False

    def _release(self, parent: GraphTensor) -> None:
        parent.n_children -= 1
        if parent.n_children or parent.n_views:
            return
        if parent.view_src is not None:
            source = parent.view_src
            source.n_views -= 1
            if not source.n_views and not source.n_children and source.allocated:
                self._free(source)
        elif parent.allocated:
            self._free(parent)

    def _free(self, node: GraphTensor) -> None:
        if node.is_output:
            return
        arena = self.arenas[node.home]
        arena.free(node.addr, arena.rules.allocated_bytes(node))
        node.allocated = False


def _with_copies(schedule: Schedule) -> list[GraphTensor]:
    """The nodes, each split led by the copies of its inputs: ggml-backend.cpp:1655."""
    nodes: list[GraphTensor] = []
    for split in schedule.splits:
        for source in split.inputs:
            kept = GraphTensor(
                "NONE", source.type_name, source.ne, [source], view_src=source
            )
            kept.backend = source.backend
            nodes += [kept, schedule.copies[(id(source), split.backend)][0]]
        for node in schedule.graph.nodes[split.start : split.end]:
            nodes.append(node)
            held = schedule.kept.get(id(node))
            if held:
                nodes.append(_holder(held, split.backend))
    return nodes


def _holder(kept: list[GraphTensor], backend: int) -> GraphTensor:
    """A node that does nothing but read: ggml-backend.cpp:1686."""
    first = kept[0]
    made = GraphTensor("NONE", first.type_name, first.ne, kept, view_src=first)
    made.backend = backend
    return made


def _leaves(schedule: Schedule) -> list[GraphTensor]:
    leaves: list[GraphTensor] = []
    for source in schedule.graph_inputs:
        leaves += schedule.copies[(id(source), source.backend or 0)]
    if schedule.graph_inputs:
        for split in schedule.splits:
            for source in split.inputs:
                leaves += schedule.copies[(id(source), split.backend)]
    return leaves + schedule.graph.leaves
