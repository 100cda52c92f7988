"""The blocks that graphs are made of: norms, projections, experts, inputs.

They mirror llama-graph.cpp of llama.cpp build 11434, one method a function there, with
the operands in the engine's order. Tensors that a file does not hold are None, and
their operations are left out, as the engine does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.graph import Graph
from placer.graph.support import supports
from placer.graph.tensor import GraphTensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.gguf import Tensor
    from placer.model import Hparams, ModelShape
    from placer.placement import Workload

Maybe = GraphTensor | None
# Batches below this run every layer's norm on the layer's device: llama-context.cpp.
FORCED_BELOW = 32
# llm_arch_supports_mixed_batch, llama-arch.cpp:1182
UNMIXED = frozenset("cogvlm deepseek4 granite-switch eagle3 dflash".split())
# Which multiply whatever their file says: grok.cpp:6, minicpm.cpp:5.
FACTORS_UNLESS_SAID = frozenset({"grok", "minicpm"})
SOFTMAX, SIGMOID, SOFTMAX_WEIGHT, SQRT_SOFTPLUS = 1, 2, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything lies, by the number of the backend; the CPU is the last.

    Attributes:
        backends: kinds of the devices, ``("CUDA", "CUDA")``.
        tensors: the backend of each weight, by name.
        layers: the backend of each layer, the output's behind them.
        caches: the backend of each layer's cache.
        cells: cells of one stream of each layer's cache.
        is_full: whether every layer and the output are on devices.
        v_transposed: whether the cache of values is, for attention in steps.
        fused: operations that the engine may do in one node: ``"flash_attn"``,
            and ``"hc_pre"``, ``"hc_comb"``, ``"hc_post"`` for residual streams side by
            side.
    """

    backends: tuple[str, ...]
    tensors: Mapping[str, int]
    layers: tuple[int, ...]
    caches: tuple[int, ...]
    cells: tuple[int, ...]
    is_full: bool
    v_transposed: bool = False
    fused: frozenset[str] = frozenset()

    @property
    def cpu(self) -> int:
        """The number of the CPU."""
        return len(self.backends)

    @property
    def flash_attn(self) -> bool:
        """Whether attention is one fused operation."""
        return "flash_attn" in self.fused


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a graph is built for.

    Attributes:
        n_tokens: tokens of all sequences.
        n_seqs: sequences.
        n_outputs: rows of logits.
        is_held: whether nodes that the engine wants on a certain backend are there.
            When it measures a full batch without allocating it forgets them
            (ggml_backend_sched_reserve_size resets), so a dry run counts more copies
            between devices than the launch has.
    """

    n_tokens: int
    n_seqs: int
    n_outputs: int
    is_held: bool = True


class Build:
    """A graph in the making.

    Args:
        shape: the model.
        workload: what is asked.
        layout: where everything lies.
        batch: what it is built for.
        layers: the layers that it is built of, in order; all of them where not said.
    """

    def __init__(
        self,
        shape: ModelShape,
        workload: Workload,
        layout: Layout,
        batch: Batch,
        layers: Sequence[int] | None = None,
    ) -> None:
        self.shape = shape
        self.workload = workload
        self.layout = layout
        self.n_tokens = batch.n_tokens
        self.n_seqs = batch.n_seqs
        self.n_outputs = batch.n_outputs
        self.is_held = batch.is_held
        self.graph = Graph()
        self.n_embd = shape.n_embd
        self.n_layer = shape.n_layer_all - shape.n_layer_nextn
        self.layers = range(self.n_layer) if layers is None else layers
        self._files: dict[str, Tensor] = {}
        for tensors in (
            shape.shared_tensors,
            shape.input_tensors,
            shape.output_tensors,
            *(layer.tensors for layer in shape.layers),
        ):
            self._files.update((t.name, t) for t in tensors)
        self._weights: dict[str, GraphTensor] = {}
        self.rows: Maybe = None  # embedded tokens, with what belongs to later layers
        self.fused_nodes: list[tuple[str, GraphTensor, int]] = []

    def add_fused(self, name: str, node: GraphTensor, il: int) -> None:
        """Note a fused node: it has to run where its layer is, or is not fused."""
        self.fused_nodes.append((name, node, il))

    @property
    def n_rs_seq(self) -> int:
        """Recurrent states kept for drafts that may be taken back."""
        return self.workload.kept_states

    @property
    def hparams(self) -> Hparams:
        """The model's hyperparameters."""
        return self.shape.hparams

    @property
    def arch(self) -> str:
        """``general.architecture``."""
        return self.shape.architecture

    # Leaves

    def weight(self, name: str) -> Maybe:
        """A weight by its whole name, None where the file has none."""
        made = self._weights.get(name)
        if made is None and name in self._files:
            file = self._files[name]
            made = ops.leaf(file.type_name, *file.dims, name=name)
            made.buffer, made.is_weight = self.layout.tensors[name], True
            self._weights[name] = made
        return made

    def of_layer(self, il: int, name: str) -> Maybe:
        """A weight of a layer, ``"attn_q.weight"``."""
        return self.weight(f"blk.{il}.{name}")

    def must(self, il: int, name: str) -> GraphTensor:
        """A weight of a layer that the architecture cannot do without.

        Raises:
            UnknownGraphError: the file has none.
        """
        found = self.of_layer(il, name)
        if found is None:
            raise UnknownGraphError(f"{self.arch} without blk.{il}.{name}")
        return found

    def input(self, type_name: str, *dims: int, name: str) -> GraphTensor:
        """Something that the host fills in before each run."""
        made = ops.leaf(type_name, *dims, name=name)
        made.is_input = True
        return made

    def stored(self, il: int, type_name: str, *dims: int, name: str) -> GraphTensor:
        """A layer's cache or state."""
        made = ops.leaf(type_name, *dims, name=f"{name}_l{il}")
        made.buffer = self.layout.caches[il]
        return made

    def rope_factors(self, il: int) -> Maybe:
        """get_rope_factors: one copy on each device that holds layers."""
        hparams = self.hparams
        trained = hparams.integer("rope.scaling.original_context_length", 0)
        is_long = self.workload.n_ctx_seq > (trained or self.shape.context_length)
        for name in ("rope_freqs", f"rope_factors_{'long' if is_long else 'short'}"):
            file = self._files.get(f"{name}.weight")
            if file is not None:
                return self._copy_on(self.layout.layers[il], file)
        return None

    def _copy_on(self, backend: int, file: Tensor) -> GraphTensor:
        key = f"{file.name} on {backend}"
        made = self._weights.get(key)
        if made is None:
            made = ops.leaf(file.type_name, *file.dims, name=file.name)
            made.buffer, made.is_weight = backend, True
            self._weights[key] = made
        return made

    # What the hyperparameters amount to

    def factor(self, key: str) -> float:
        """What the stream or the logits are multiplied by; 0.0 where they are not."""
        unsaid = 1.0 if self.arch in FACTORS_UNLESS_SAID else 0.0
        return self.hparams.number(key, unsaid)

    @property
    def n_embd_inp(self) -> int:
        """Elements of an input vector, llama-hparams.cpp:118."""
        return self.n_embd * (1 + self.hparams.integer("n_deepstack_layers", 0))

    # Norms and projections

    def norm(
        self, x: GraphTensor, weight: Maybe, bias: Maybe, il: int, op: str = "RMS_NORM"
    ) -> GraphTensor:
        """build_norm, llama-graph.cpp:1634: with a weight it is the layer's own."""
        x = ops.same(op, x)
        x.name = "norm"
        if weight is not None or bias is not None:
            self.hold(x, il)
        if weight is not None:
            x = ops.mul(x, weight)
        return x if bias is None else ops.add(x, bias)

    def layer_norm(
        self, x: GraphTensor, il: int, name: str, op: str = "RMS_NORM"
    ) -> GraphTensor:
        """The norm of a layer's tensors ``name.weight`` and ``name.bias``."""
        weight = self.of_layer(il, f"{name}.weight") or self.of_layer(il, name)
        return self.norm(x, weight, self.of_layer(il, f"{name}.bias"), il, op)

    def hold(self, x: GraphTensor, il: int) -> None:
        """Keep the node on its layer's device: graph_get_cb, llama-context.cpp:2638."""
        is_asked = self.n_tokens < FORCED_BELOW or self.layout.is_full
        if il < 0 or not is_asked or not self.is_held:
            return
        backend = self.layout.layers[il]
        if backend == self.layout.cpu or supports(self.layout.backends[backend], x):
            x.forced = backend

    def mm(
        self, weight: GraphTensor, x: GraphTensor, scale: Maybe = None
    ) -> GraphTensor:
        """build_lora_mm, llama-graph.cpp:1549."""
        y = ops.mul_mat(weight, x)
        return y if scale is None else ops.mul(y, scale)

    def linear(self, il: int, name: str, x: GraphTensor) -> GraphTensor:
        """A projection by ``name.weight``, with its scale and bias where there are."""
        y = self.mm(
            self.must(il, f"{name}.weight"), x, self.of_layer(il, f"{name}.scale")
        )
        bias = self.of_layer(il, f"{name}.bias")
        return y if bias is None else ops.add(y, bias)

    def mm_id(
        self, weight: GraphTensor, x: GraphTensor, ids: GraphTensor, scale: Maybe = None
    ) -> GraphTensor:
        """build_lora_mm_id, llama-graph.cpp:1588."""
        y = ops.mul_mat_id(weight, x, ids)
        if scale is None:
            return y
        n_expert = scale.ne[0]
        s = ops.repeat(ops.reshape(scale, 1, n_expert, 1), 1, n_expert, x.ne[2], 1)
        return ops.mul(y, ops.get_rows(s, ids))

    # Inputs

    def embedded(self, *, scale_rows: bool = False) -> GraphTensor:
        """build_inp_embd, llama-graph.cpp:2413: tokens, vectors, or both of them."""
        table = self.weight("token_embd.weight")
        if table is None:
            raise UnknownGraphError(f"{self.arch} without token_embd.weight")
        n_inp = self.n_embd_inp
        tokens = self.input("I32", self.n_tokens, name="inp_tokens")
        vectors = self.input("F32", n_inp, self.n_tokens, name="inp_embd")
        x = self._looked_up(table, tokens, n_inp)
        self.graph.expand(x)
        self.graph.expand(vectors)
        if self.arch not in UNMIXED:
            mixed = self.input("I32", self.n_tokens, name="inp_mixed_tokens")
            slots = self.input("I64", self.n_tokens, name="inp_mixed_slots")
            rows = self.input("F32", n_inp, self.n_tokens, name="inp_mixed_embd")
            made = ops.set_rows(
                ops.dup(rows), self._looked_up(table, mixed, n_inp), slots
            )
            self.graph.expand(made)
        self.rows = x
        if n_inp != self.n_embd:
            x = ops.view(x, (self.n_embd, self.n_tokens), (x.nb[1],))
        x = self._scaled_embedding(x, scale_rows=scale_rows)
        self.graph.expand(x)
        return x

    def _looked_up(
        self, table: GraphTensor, ids: GraphTensor, n_inp: int
    ) -> GraphTensor:
        x = ops.get_rows(table, ids)
        return x if n_inp == self.n_embd else ops.pad(x, n_inp - self.n_embd)

    def _scaled_embedding(self, x: GraphTensor, *, scale_rows: bool) -> GraphTensor:
        scale = self.factor("embedding_scale")
        deepstack = self.hparams.integer("n_deepstack_layers", 0) > 0
        if scale and not deepstack:
            x = ops.scale(x if x.is_contiguous else ops.cont(x))
        if scale_rows or (scale not in (0.0, 1.0) and deepstack):
            rows = self.input("F32", 1, self.n_tokens, name="inp_scale_rows")
            x = ops.mul(x if x.is_contiguous else ops.cont(x), rows)
        return x

    def positions(self, n_per_token: int = 1) -> GraphTensor:
        """build_inp_pos, llama-graph.cpp:2540."""
        return self.input("I32", self.n_tokens * n_per_token, name="inp_pos")

    def out_ids(self) -> GraphTensor:
        """build_inp_out_ids, llama-graph.cpp:2569: the rows that get logits."""
        return self.input("I32", self.n_outputs, name="out_ids")

    # The end

    def finish(
        self, x: GraphTensor, op: str = "RMS_NORM", *, norm_name: str = "output_norm"
    ) -> Graph:
        """The last norm and the logits."""
        weight = self.weight(f"{norm_name}.weight")
        x = self.norm(x, weight, self.weight(f"{norm_name}.bias"), -1, op)
        return self.logits(x)

    def logits(self, x: GraphTensor) -> Graph:
        """The output projection as the graph's last node."""
        self.graph.expand(self.projected_logits(x))
        return self.graph

    def projected_logits(self, x: GraphTensor) -> GraphTensor:
        """The output projection; tied files use the embedding again."""
        y = self.mm(self.output_matrix(), x, self.weight("output.scale"))
        bias = self.weight("output.bias")
        return y if bias is None else ops.add(y, bias)

    def output_matrix(self) -> GraphTensor:
        """The matrix of the logits.

        Raises:
            UnknownGraphError: the file has neither it nor an embedding.
        """
        found = self.weight("output.weight")
        if found is not None:
            return found
        file = self._files.get("token_embd.weight")
        if file is None:
            raise UnknownGraphError(f"{self.arch} without an output matrix")
        home = self.layout.layers[-1]
        if home == self.layout.tensors[file.name]:
            return self.weight(file.name) or self._copy_on(home, file)
        return self._copy_on(home, file)


class UnknownGraphError(Exception):
    """placer has no graph for the model; its compute buffers are a rough figure."""
