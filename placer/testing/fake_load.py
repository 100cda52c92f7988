"""Loading in the engine's order: weights, context, compute buffers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.testing.fake_memory import OutOfMemoryError
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.memory import MemoryEstimate
    from placer.testing.fake_engine import FakeConfig
    from placer.testing.fake_log import Log
    from placer.testing.fake_memory import Load, Memory

SPLITS = "I sched_reserve: graph splits = 3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """Puts one model on the devices; each step says what the engine would say.

    Every step raises OutOfMemoryError, its lines already in the log.
    """

    load: Load
    memory: Memory
    config: FakeConfig
    log: Log

    @property
    def names(self) -> list[str]:
        """Of the devices, in order."""
        return [device.name for device in self.memory.machine.devices]

    def measure(self) -> None:
        """What ``--fit on`` does first: the table, and nothing taken."""
        needs = self.load.needs(
            self.config, pipelined=self.load.is_pipelined(self.config)
        )
        compute = [0, *(device.compute_bytes or 0 for device in needs.devices)]
        self.log.say("I cmn  common_init_: fitting params to device memory ...")
        self._say_buffers("sched_reserve", "compute", compute)
        self.log.say(SPLITS)
        free = [device.free_bytes for device in self.memory.machine.devices]
        self.log.say_table(self.memory.machine, needs, free)
        self.log.say(
            "I common_fit_params: successfully fit params to free device memory",
            "I common_fit_params: fitting params to free memory took 0.02 seconds",
        )

    def weights(self) -> None:
        """The first buffers."""
        for device in self.memory.machine.devices:
            self.log.say(
                f"I llama_prepare_model_devices: using device {device.name} "
                f"({device.description}) (unknown id) - "
                f"{device.free_bytes // MIB} MiB free"
            )
        self._say_layers()
        count = min(self.load.placement.n_gpu_layers, self.load.shape.n_slots)
        needs = self.load.needs(self.config, pipelined=False)
        sizes = [device.model_bytes for device in needs.devices]
        try:
            self._take(sizes, "alloc_tensor_range")
        except OutOfMemoryError as error:
            self.log.say(
                "E llama_model_load: error loading model: unable to allocate "
                f"{error.device.buffer_type} buffer",
                "E llama_model_load_from_file_impl: failed to load model",
            )
            raise
        self.log.say(
            f"I load_tensors: offloaded {count}/{self.load.shape.n_slots} layers to GPU"
        )
        host = needs.host.model_bytes
        self._say_buffers("load_tensors", "model", [host, *sizes])

    def _say_layers(self) -> None:
        """Where each layer goes, which ``--fit`` is told by: llama-model.cpp:1596."""
        homes = self.load.placement.slot_devices(self.load.shape.n_slots)
        for index, home in enumerate(homes):
            name = "CPU" if home is None else self.names[home]
            self.log.say(
                f"D load_tensors: layer {index:3d} assigned to device {name}, "
                "is_swa = 0"
            )

    def context(self) -> None:
        """The second buffers."""
        needs = self.load.needs(self.config, pipelined=False)
        sizes = [device.context_bytes or 0 for device in needs.devices]
        try:
            self._take(sizes, "alloc_tensor_range")
        except OutOfMemoryError:
            self._fail("failed to allocate buffer for kv cache")
            raise
        host = needs.host.context_bytes or 0
        self._say_buffers("llama_kv_cache", "KV", [host, *sizes])

    def compute(self) -> MemoryEstimate:
        """The last buffers, a second time without pipelining where that failed."""
        if self.load.is_pipelined(self.config):
            self.log.say("I llama_context: pipeline parallelism enabled")
            try:
                return self._reserve(pipelined=True)
            except OutOfMemoryError:
                self.log.say(
                    "W sched_reserve: compute buffer allocation failed, retrying "
                    "without pipeline parallelism"
                )
        try:
            return self._reserve(pipelined=False)
        except OutOfMemoryError:
            self._fail("failed to allocate compute pp buffers")
            raise

    def _reserve(self, *, pipelined: bool) -> MemoryEstimate:
        needs = self.load.needs(self.config, pipelined=pipelined)
        sizes = [device.compute_bytes or 0 for device in needs.devices]
        try:
            self._take(sizes, "ggml_gallocr_reserve_n_impl")
        except OutOfMemoryError:
            self.log.say("E graph_reserve: failed to allocate compute buffers")
            raise
        self._say_buffers("sched_reserve", "compute", [0, *sizes])
        self.log.say(SPLITS)
        return needs

    def _take(self, sizes: Sequence[int], where: str) -> None:
        """A buffer on each device; nothing is kept when one gives out."""
        for index, size in enumerate(sizes):
            try:
                self.memory.take(index, size)
            except OutOfMemoryError as error:
                for before in range(index):
                    self.memory.give_back(before, sizes[before])
                self.log.say_oom(error, where)
                raise

    def _fail(self, reason: str) -> None:
        self.log.say(
            f"E llama_init_from_model: failed to initialize the context: {reason}",
            "E cmn  common_init_: failed to create context with model",
        )

    def _say_buffers(self, who: str, what: str, sizes: Sequence[int]) -> None:
        """One line for each buffer that is there; the first is the host's."""
        host = "CPU_Mapped" if what == "model" else "CPU"
        for name, size in zip([host, *self.names], sizes, strict=True):
            if size:
                said = f"{what} buffer size = {size / MIB:8.2f} MiB"
                self.log.say(f"I {who}: {name:>10} {said}")
