"""What processes on an emulated machine use, as each of them sees it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pytest

from placer.errors import InputError
from placer.testing.state import (
    DEVICE,
    DEVICES_MAX,
    HEADER,
    SIZE,
    SLOT,
    SLOTS,
    StateFile,
    create_state,
)
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FakeProcess:
    """A process that holds a slot of the state file, as the Vulkan layer does.

    Args:
        path: the state file.
        slot: which slot it claims; the claim counts up with it.
        used_bytes: what it says that it uses of each device.
        pid: what it calls itself.
    """

    CODE = """
import fcntl, os, struct, sys
path, slot, offset, record = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
fd = os.open(path, os.O_RDWR)
held = struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, slot, 1, 0)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, held)
os.pwrite(fd, bytes.fromhex(record), offset)
print("ready", flush=True)
sys.stdin.read()
"""

    def __init__(
        self, path: Path, slot: int, used_bytes: list[int], *, pid: int
    ) -> None:
        used = used_bytes + [0] * (DEVICES_MAX - len(used_bytes))
        peak = [2 * bytes_ for bytes_ in used]
        record = SLOT.pack(pid, 0, slot + 1, *used, *peak)
        offset = HEADER.size + DEVICES_MAX * DEVICE.size + slot * SLOT.size
        words = [str(path), str(slot), str(offset), record.hex()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """It ends without a word, as after kill -9."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A machine of two devices, 400 and 300 MiB."""
    create_state(tmp_path / "state", [400 * MIB, 300 * MIB])
    return tmp_path / "state"


@pytest.fixture
def state(path: Path) -> Iterator[StateFile]:
    """The same machine, open."""
    opened = StateFile(path)
    yield opened
    opened.close()


def test_a_new_machine_is_empty(state: StateFile) -> None:
    """Its devices have their capacity and no process."""
    assert state.capacity_bytes() == (400 * MIB, 300 * MIB)
    assert state.used_bytes() == (0, 0)
    assert state.usage() == ()


@pytest.mark.parametrize("count", [1, 16])
def test_a_machine_has_as_many_devices_as_capacities(
    tmp_path: Path, count: int
) -> None:
    """From 1 to 16 of them, each with its own capacity."""
    capacities = [(i + 1) * MIB for i in range(count)]
    create_state(tmp_path / "state", capacities)
    state = StateFile(tmp_path / "state")
    assert state.capacity_bytes() == tuple(capacities)
    state.close()


@pytest.mark.parametrize("capacities", [[], [MIB] * 17, [MIB, 0], [-1]])
def test_impossible_machines_are_refused(tmp_path: Path, capacities: list[int]) -> None:
    """No device, more than 16, and a device without capacity."""
    with pytest.raises(InputError):
        create_state(tmp_path / "state", capacities)


def test_a_change_of_capacity_is_seen_by_everyone(path: Path, state: StateFile) -> None:
    """Also by those who had the file open before."""
    other = StateFile(path)
    other.set_capacity(1, 7 * MIB)
    other.close()
    assert state.capacity_bytes() == (400 * MIB, 7 * MIB)


def test_use_is_the_sum_of_processes_and_neighbours(
    path: Path, state: StateFile
) -> None:
    """A pretended neighbour counts like a process, on its device alone."""
    with FakeProcess(path, 0, [5, 6], pid=11), FakeProcess(path, 3, [70, 0], pid=12):
        state.set_neighbour(1, 1000)
        assert state.used_bytes() == (75, 1006)
        assert state.used_bytes(beside=11) == (70, 1000)
        assert state.used_bytes(beside=12) == (5, 1006)
        state.set_neighbour(1, 0)
        assert state.used_bytes() == (75, 6)


def test_each_process_is_told_apart(path: Path, state: StateFile) -> None:
    """In the order in which they came."""
    with FakeProcess(path, 4, [0, 8], pid=12), FakeProcess(path, 1, [5, 6], pid=11):
        first, second = state.usage()
    assert (first.pid, first.used_bytes, first.peak_bytes) == (11, (5, 6), (10, 12))
    assert (second.pid, second.used_bytes, second.running) == (12, (0, 8), True)


def test_what_a_killed_process_used_is_given_back(path: Path, state: StateFile) -> None:
    """Its peak stays readable."""
    with FakeProcess(path, 0, [5, 6], pid=11) as process:
        process.kill()
        assert state.used_bytes() == (0, 0)
        (usage,) = state.usage()
    assert not usage.running
    assert usage.used_bytes == (0, 0)
    assert usage.peak_bytes == (10, 12)


def test_a_process_without_a_living_owner_does_not_count(
    path: Path, state: StateFile
) -> None:
    """Even when a living process has the same number: the lock decides."""
    with ExitStack() as stack:
        old = stack.enter_context(FakeProcess(path, 0, [5, 5], pid=11))
        old.kill()
        stack.enter_context(FakeProcess(path, 1, [1, 1], pid=11))
        assert state.used_bytes() == (1, 1)
        assert [usage.running for usage in state.usage()] == [False, True]


@pytest.mark.parametrize(
    ("device", "figure"), [(2, 1), (-1, 1), (0, -1)], ids=["none", "negative", "bytes"]
)
def test_a_change_of_what_is_not_there_is_refused(
    state: StateFile, device: int, figure: int
) -> None:
    """A device that the machine lacks, and bytes below zero."""
    with pytest.raises(InputError):
        state.set_capacity(device, figure)
    with pytest.raises(InputError):
        state.set_neighbour(device, figure)
    assert state.capacity_bytes() == (400 * MIB, 300 * MIB)
    assert state.used_bytes() == (0, 0)


@pytest.mark.parametrize("damage", ["magic", "version", "count", "short", "long"])
def test_another_file_is_not_taken_for_a_state(path: Path, damage: str) -> None:
    """Wrong magic, version, count or size."""
    content = bytearray(path.read_bytes())
    if damage == "short":
        del content[-1]
    elif damage == "long":
        content.append(0)
    else:
        content[{"magic": 0, "version": 8, "count": 12}[damage]] ^= 0x1F
    path.write_bytes(content)
    with pytest.raises(InputError, match="state of an emulated machine"):
        StateFile(path)


def test_the_layout_is_the_one_of_the_header_file() -> None:
    """vulkan_layer/state.c asserts the same sizes when it is compiled."""
    assert (HEADER.size, DEVICE.size, SLOT.size) == (64, 128, 272)
    assert SIZE == 64 + 16 * 128 + 256 * 272
    assert SLOTS == 256
