"""What happens when a fake engine computes: nothing, growth, or its fault."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from placer.testing.fake_engine import FakeConfig, Fault, die
from placer.testing.fake_memory import OutOfMemoryError
from placer.testing.fake_slots import DecodeError
from placer.units import MIB

if TYPE_CHECKING:
    from placer.testing.fake_log import Log
    from placer.testing.fake_memory import Memory

SLOW_BATCH_S = 0.05
FATAL = {
    Fault.SIGILL_AT_PROMPT: signal.SIGILL,
    # What the kernel does when the host is out of memory.
    Fault.KILLED: signal.SIGKILL,
}
LAST_WORDS = {
    Fault.CUDA_ERROR: (
        "E CUDA error: out of memory",
        "E   current device: 0, in function alloc at ggml-cuda.cu:595",
        "E   cuMemCreate(&handle, reserve_size, &prop, 0)",
        "ggml-cuda.cu:104: CUDA error",
    ),
    Fault.DEVICE_LOST: (
        "terminate called after throwing an instance of 'vk::DeviceLostError'",
        "  what():  vk::Device::waitForFences: ErrorDeviceLost",
    ),
}
# clip.cpp:4500, mtmd.cpp:2620 and server-context.cpp:3755 of build 11434
IMAGE_FAILED = (
    "E clip_image_batch_encode: failed to allocate compute graph",
    "E mtmd_encode: failed to encode image",
    "E slot update_slots: id  0 | task 0 | failed to process mtmd chunk, res = -1",
)


class FakeGraph:
    """The graph of one server."""

    def __init__(
        self, config: FakeConfig, memory: Memory, log: Log, fault: Fault | None
    ) -> None:
        self._config = config
        self._memory = memory
        self._log = log
        self._fault = fault
        self._has_grown = False
        self._lock = threading.Lock()

    def compute(self, n_tokens: int) -> None:
        """Compute a batch.

        Raises:
            DecodeError: a device gave out; the server lives on.
        """
        if self._fault in FATAL:
            die(FATAL[self._fault])
        elif self._fault in LAST_WORDS:
            self._log.say(*LAST_WORDS[self._fault])
            die(signal.SIGABRT)
        elif self._fault is Fault.HANG_AT_PROMPT:
            threading.Event().wait()
        elif self._fault is Fault.SLOW:
            time.sleep(SLOW_BATCH_S)
        elif self._fault is Fault.OOM_IN_USE:
            device = self._memory.machine.devices[-1]
            self._fail(OutOfMemoryError(device, 64 * MIB), n_tokens)
        with self._lock:
            if not self._has_grown:
                self._grow(n_tokens)

    def encode(self) -> None:
        """Encode an image.

        Raises:
            DecodeError: a device gave out; the server lives on.
        """
        if self._fault is Fault.OOM_AT_IMAGE:
            error = OutOfMemoryError(self._memory.machine.devices[0], 64 * MIB)
            self._log.say_oom(error, "ggml_gallocr_reserve_n_impl")
            self._log.say(*IMAGE_FAILED)
            raise DecodeError("failed to process mtmd chunk")

    def _grow(self, n_tokens: int) -> None:
        """The pools of the first batch: ggml-cuda.cu:419."""
        names = list(self._config.devices)
        for name, mib in self._config.in_use_mib.items():
            try:
                self._memory.take(names.index(name), mib * MIB)
            except OutOfMemoryError as error:
                self._fail(error, n_tokens)
        self._has_grown = True

    def _fail(self, error: OutOfMemoryError, n_tokens: int) -> NoReturn:
        self._log.say_oom(error, "ggml_gallocr_reserve_n_impl")
        self._log.say(
            "E ggml_backend_sched_alloc_splits: failed to allocate graph",
            "E llama_decode: failed to decode, ret = -2",
            f"E srv        decode: Compute error. off = 0, n_batch = {n_tokens}, "
            "ret = -2",
            "E srv    send_error: task id = 0, error: Compute error.",
            "E srv  update_slots: decode() failed: Compute error.",
        )
        raise DecodeError("Compute error.")
