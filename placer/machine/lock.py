"""One search at a time on a device: two would take each other's memory."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from placer.errors import MachineError
from placer.machine.host import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from placer.machine.device import Device, Machine


@contextmanager
def locked(machine: Machine, what: str, *, owner: str = "") -> Iterator[None]:
    """Nobody else's placer launches anything on these devices meanwhile.

    The locks are the kernel's, and end with the process, however it ends.

    Args:
        machine: the devices.
        what: is done with them, for whoever finds them taken.
        owner: of devices that are nobody else's, as an emulated machine's are.

    Raises:
        MachineError: another process has one of them.
    """
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # In one order everywhere, so that two never wait for each other.
        for path, device in sorted(
            (folder / f"{_identity(device, owner)}.lock", device.name)
            for device in machine.devices
        ):
            stack.enter_context(_lock(path, device, what))
        yield


@contextmanager
def _lock(path: Path, device: str, what: str) -> Iterator[None]:
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another placer"
            raise MachineError(
                f"{device} is taken by {holder}",
                hint="wait for it to end, or use other devices with -dev",
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}: {what}")
        file.flush()
        yield
        file.truncate(0)


def _identity(device: Device, owner: str) -> str:
    """What tells a device from all others of this machine."""
    place = device.name if device.nvml is None else device.nvml.pci_bus_id
    text = "|".join((owner, device.backend, device.description, str(place)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
