"""The log of a fake engine, in the words of llama-server b10434."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Machine
    from placer.memory import MemoryBreakdown, MemoryEstimate
    from placer.testing.fake_memory import OutOfMemoryError

LEVELS = {"E": 1, "W": 2, "I": 4, "D": 5}
OOM_VULKAN = (
    "ggml_vulkan: Device memory allocation of size {n_bytes} failed.",
    "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
)
OOM_CUDA = (
    (
        "E ggml_backend_cuda_buffer_type_alloc_buffer: allocating {mib:.2f} MiB on "
        "device {index}: cudaMalloc failed: out of memory"
    ),
)


class Log:
    """Lines with the engine's prefix of time and level.

    Args:
        level: lines up to this one are written: 1 errors, 2 warnings, 4 information.
        out: where to; None for standard output.
    """

    def __init__(self, level: int, out: TextIO | None = None) -> None:
        self._level = level
        self._out = sys.stdout if out is None else out
        self._lock = threading.Lock()
        self._started_s = time.monotonic()

    def say(self, *lines: str) -> None:
        """Lines that begin with their level, ``"E srv  load_model: ..."``, or bare."""
        with self._lock:
            for line in lines:
                self._write(line)
            self._out.flush()

    def _write(self, line: str) -> None:
        level, space, _ = line.partition(" ")
        if not space or level not in LEVELS:
            self._out.write(line + "\n")
        elif LEVELS[level] <= self._level:
            self._out.write(f"{self._time()} {line}\n")

    def _time(self) -> str:
        micros = round((time.monotonic() - self._started_s) * 1e6)
        minutes, micros = divmod(micros, 60_000_000)
        seconds, micros = divmod(micros, 1_000_000)
        return f"{minutes}.{seconds:02d}.{micros // 1000:03d}.{micros % 1000:03d}"

    def say_oom(self, error: OutOfMemoryError, where: str) -> None:
        """The backend's lines, then the allocator's."""
        device = error.device
        is_cuda = device.backend in ("CUDA", "ROCm")
        for line in OOM_CUDA if is_cuda else OOM_VULKAN:
            index = device.name.removeprefix(device.backend)
            mib = error.asked_bytes / MIB
            self.say(line.format(n_bytes=error.asked_bytes, mib=mib, index=index))
        self.say(
            f"E {where}: failed to allocate {device.buffer_type} buffer of size "
            f"{error.asked_bytes}"
        )

    def say_table(
        self, machine: Machine, needs: MemoryEstimate, free: Sequence[int]
    ) -> None:
        """The memory table, with the bytes that each device has free.

        common_memory_breakdown_print, fit.cpp:819
        """
        who = "I common_memory_breakdown_print: |"
        self.say(
            f"{who} memory breakdown [MiB] | total   free    self   model   context"
            "   compute    unaccounted |"
        )
        rows = zip(machine.devices, needs.devices, free, strict=True)
        for device, held, free_bytes in rows:
            total, parts = device.total_bytes // MIB, _parts(held)
            left = free_bytes // MIB
            self.say(
                f"{who}   - {device.name} ({device.description}) | {total:5d} = "
                f"{left:4d} + ({sum(parts):4d} = {parts[0]:5d} + {parts[1]:7d} + "
                f"{parts[2]:7d}) + {total - left - sum(parts):11d} |"
            )
        parts = _parts(needs.host)
        self.say(
            f"{who}   - Host                   |                 {sum(parts):5d} = "
            f"{parts[0]:5d} + {parts[1]:7d} + {parts[2]:7d}                |"
        )


def _parts(held: MemoryBreakdown) -> tuple[int, int, int]:
    """Whole MiB, cut down."""
    context, compute = held.context_bytes or 0, held.compute_bytes or 0
    return (held.model_bytes // MIB, context // MIB, compute // MIB)
