"""The file that every process on an emulated machine shares.

It holds the capacity of each device and what each process uses of it. The other
reader and writer is ``vulkan_layer/state.c``; ``vulkan_layer/state.h`` says what
the bytes and the two locks mean. Change both together.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DEVICES_MAX = 16
SLOTS = 256
MAGIC = b"PLCRVRAM"
VERSION = 1

HEADER = struct.Struct("<8sIIQ40x")  # magic, version, devices, claims
DEVICE = struct.Struct("<QQ112s")  # capacity, neighbour, label
SLOT = struct.Struct("<iIQ16Q16Q")  # pid, reserved, claim, used, peak
SIZE = HEADER.size + DEVICES_MAX * DEVICE.size + SLOTS * SLOT.size

# struct flock of <fcntl.h>: type, whence, start, length, pid
_RANGE = struct.Struct("@hhqqi0q")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUsage:
    """What one process uses of each device, and the most it ever used.

    Args:
        pid: as the process sees it itself: in a container, the container's.
        running: False once it has ended; what it used is then given back.
        used_bytes: one figure a device.
        peak_bytes: one figure a device.
    """

    pid: int
    running: bool
    used_bytes: tuple[int, ...]
    peak_bytes: tuple[int, ...]


class StateFile:
    """The state of an emulated machine, open for reading and for change.

    Args:
        path: a file that ``create_state`` wrote.

    Raises:
        InputError: it is not such a file, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = threading.Lock()
        self._file = path.open("r+b", buffering=0)
        try:
            self.device_count = self._read_header()
        except InputError:
            self._file.close()
            raise

    def close(self) -> None:
        """The file is let go of; it stays on disk."""
        self._file.close()

    def used_bytes(self, *, beside: int | None = None) -> tuple[int, ...]:
        """What is used of each device by every process, pretended ones included.

        Args:
            beside: the id of a process that is left out.
        """
        with self._locked():
            running = [u for u in self._usage() if u.running and u.pid != beside]
            neighbours = [self._device(i)[1] for i in range(self.device_count)]
        return tuple(
            neighbour + sum(usage.used_bytes[device] for usage in running)
            for device, neighbour in enumerate(neighbours)
        )

    def capacity_bytes(self) -> tuple[int, ...]:
        """The capacity of each device, as it stands now."""
        with self._locked():
            return tuple(self._device(i)[0] for i in range(self.device_count))

    def usage(self) -> tuple[ProcessUsage, ...]:
        """Every process that ever opened the devices, in that order.

        Of the processes that have ended the newest are kept: all together 256.
        """
        with self._locked():
            return tuple(self._usage())

    def set_capacity(self, device: int, capacity_bytes: int) -> None:
        """An allocation from now on is held against this capacity."""
        if capacity_bytes < 1:
            raise InputError(f"a capacity of {capacity_bytes} bytes is none")
        self._write(device, 0, capacity_bytes)

    def set_neighbour(self, device: int, used_bytes: int) -> None:
        """A pretended process uses so much of a device."""
        if used_bytes < 0:
            raise InputError(f"{used_bytes} bytes cannot be in use")
        self._write(device, 8, used_bytes)

    def _read_header(self) -> int:
        data = self._pread(HEADER, 0)
        if data is None or os.fstat(self._file.fileno()).st_size != SIZE:
            raise InputError("not the state of an emulated machine", path=self.path)
        magic, version, count, _ = data
        if magic != MAGIC or version != VERSION or not 1 <= count <= DEVICES_MAX:
            raise InputError(
                "not the state of an emulated machine of this version", path=self.path
            )
        return int(count)

    def _usage(self) -> Iterator[ProcessUsage]:
        slots = [(slot, *self._slot(slot)) for slot in range(SLOTS)]
        used = [entry for entry in slots if entry[1] != 0]
        for slot, pid, _, _, *bytes_ in sorted(used, key=lambda entry: entry[3]):
            running = self._is_held(slot)
            held = bytes_[: self.device_count] if running else [0] * self.device_count
            peak = bytes_[DEVICES_MAX : DEVICES_MAX + self.device_count]
            yield ProcessUsage(
                pid=pid,
                running=running,
                used_bytes=tuple(held),
                peak_bytes=tuple(peak),
            )

    def _is_held(self, slot: int) -> bool:
        """Whether the process that claimed the slot lives: it holds byte ``slot``."""
        question = _RANGE.pack(fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0)
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, question)
        return bool(_RANGE.unpack(answer)[0] != fcntl.F_UNLCK)

    def _device(self, device: int) -> tuple[int, int]:
        capacity, neighbour, _ = self._read(DEVICE, _device_offset(device))
        return capacity, neighbour

    def _slot(self, slot: int) -> tuple[int, ...]:
        return self._read(SLOT, _device_offset(DEVICES_MAX) + slot * SLOT.size)

    def _write(self, device: int, field: int, value: int) -> None:
        if not 0 <= device < self.device_count:
            raise InputError(
                f"no device {device}: this machine has 0 to {self.device_count - 1}"
            )
        offset = _device_offset(device) + field
        with self._locked():
            os.pwrite(self._file.fileno(), struct.pack("<Q", value), offset)

    def _read(self, shape: struct.Struct, offset: int) -> tuple[Any, ...]:
        data = self._pread(shape, offset)
        if data is None:
            raise InputError("the file was cut short", path=self.path, offset=offset)
        return data

    def _pread(self, shape: struct.Struct, offset: int) -> tuple[Any, ...] | None:
        data = os.pread(self._file.fileno(), shape.size, offset)
        return shape.unpack(data) if len(data) == shape.size else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No other thread and no other process reads or writes meanwhile."""
        with self._threads:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)


def create_state(path: Path, capacities_bytes: Sequence[int]) -> None:
    """A new machine stands in the file: its devices are empty and have no processes.

    Raises:
        InputError: there is no device, more than 16, or one without capacity.
    """
    if not 1 <= len(capacities_bytes) <= DEVICES_MAX:
        raise InputError(
            f"an emulated machine has 1 to {DEVICES_MAX} devices,"
            f" not {len(capacities_bytes)}"
        )
    if min(capacities_bytes) < 1:
        raise InputError(f"a capacity of {min(capacities_bytes)} bytes is none")
    content = bytearray(SIZE)
    HEADER.pack_into(content, 0, MAGIC, VERSION, len(capacities_bytes), 0)
    for device, capacity_bytes in enumerate(capacities_bytes):
        label = f"Emulated GPU {device} ({capacity_bytes // 2**20} MiB)"
        place = _device_offset(device)
        DEVICE.pack_into(content, place, capacity_bytes, 0, label.encode())
    path.write_bytes(content)


def _device_offset(device: int) -> int:
    return HEADER.size + device * DEVICE.size
