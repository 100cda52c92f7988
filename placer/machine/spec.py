"""``--devices``: a machine in one line, for devices that are not there."""

from __future__ import annotations

import re
from dataclasses import replace

from placer.errors import InputError
from placer.machine.device import Device, Machine
from placer.units import from_mib

EXAMPLE = "CUDA0:24564:23671,CUDA1:16303"
# As the engine's device names begin, ggml/src of llama.cpp build 11434; "Metal" is what
# builds before the number called their only device.
BACKENDS = (
    "CUDA",
    "ROCm",
    "Vulkan",
    "SYCL",
    "MTL",
    "Metal",
    "MUSA",
    "RPC",
    "CANN",
    "OpenCL",
)
# llama-server takes fewer than 16 shares in -ts (arg.cpp).
MOST_DEVICES = 15
MOST_MIB = 1 << 24
_BY_LOWER = {backend.lower(): backend for backend in BACKENDS}
_NAME = re.compile(r"([A-Za-z]+)([0-9]{0,3})")
_PART = re.compile(r"([^:]*):([0-9]{1,9})(?::([0-9]{1,9}))?")


def machine_of_spec(text: str) -> Machine:
    """The machine of ``"CUDA0:24564:23671,CUDA1:16303:12761"``.

    Each part is the device's name, its total MiB and its free MiB; what is free is the
    total where it is not said. Of the host nothing is known.

    Raises:
        InputError: it is no such list.
    """
    devices = tuple(_device(part.strip()) for part in text.split(","))
    require_devices(devices)
    return with_order(
        Machine(
            devices=devices,
            engine_build=None,
            host_total_bytes=None,
            host_free_bytes=None,
        )
    )


def with_order(machine: Machine) -> Machine:
    """The machine, its devices named in flags where the engine would order them anew.

    It lists remote devices first: llama.cpp:276 of build 11434.
    """
    remote = [device.backend == "RPC" for device in machine.devices]
    is_engines = remote == sorted(remote, reverse=True)
    return machine if is_engines else replace(machine, chosen=True)


def require_devices(devices: tuple[Device, ...]) -> None:
    """Check that the engine could have them all.

    Raises:
        InputError: too many, or two of one name.
    """
    if len(devices) > MOST_DEVICES:
        raise InputError(
            f"{len(devices)} devices are too many",
            hint=f"llama-server splits over {MOST_DEVICES} at most",
        )
    names = [device.name for device in devices]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two devices are called {name}", hint="number them")


def backend_of(text: str) -> str:
    """The backend in the engine's own spelling: ``"ROCm"`` for ``"rocm"``.

    Raises:
        InputError: the engine has no such backend.
    """
    backend = _BY_LOWER.get(text.lower())
    if backend is None:
        raise InputError(
            f"llama.cpp has no backend {text!r}", hint=f"use {', '.join(BACKENDS)}"
        )
    return backend


def require_sizes(name: str, total_mib: int, free_mib: int) -> None:
    """Check the memory of a device.

    Raises:
        InputError: no memory, too much of it, or more free than there is.
    """
    if not 0 < total_mib <= MOST_MIB:
        raise InputError(
            f"{name} has {total_mib} MiB", hint=f"give 1 to {MOST_MIB} MiB in all"
        )
    if not 0 <= free_mib <= total_mib:
        raise InputError(
            f"{name} has {free_mib} MiB free of {total_mib}",
            hint="give no more free than in all",
        )


def _device(part: str) -> Device:
    match = _PART.fullmatch(part)
    if match is None:
        raise InputError(
            f"{part!r} is no device", hint=f"write NAME:TOTAL:FREE in MiB: {EXAMPLE}"
        )
    name = _name(match[1])
    total_mib = int(match[2])
    free_mib = total_mib if match[3] is None else int(match[3])
    require_sizes(name, total_mib, free_mib)
    return Device(
        name=name,
        buffer_type=name,
        description="as described",
        total_bytes=from_mib(total_mib),
        free_bytes=from_mib(free_mib),
        free_is_assumed=match[3] is None,
    )


def _name(text: str) -> str:
    match = _NAME.fullmatch(text)
    if match is None:
        raise InputError(
            f"{text!r} is no name of a device", hint=f"write, for example, {EXAMPLE}"
        )
    backend, number = backend_of(match[1]), match[2]
    if not number and backend != "Metal":
        raise InputError(f"{text} has no number", hint=f"write {backend}0")
    return backend + (number and str(int(number)))
