"""Machine files: cards and whole machines as data, each figure with its source.

docs/machines.md describes the format.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from placer.errors import InputError, placed
from placer.machine.device import Device, Machine
from placer.machine.spec import (
    backend_of,
    require_devices,
    require_sizes,
    with_order,
)
from placer.units import from_mib

FOLDER = Path(__file__).with_name("machines")
SUFFIX = ".toml"
GB = 1e9
MACHINE_KEYS = {"name": str, "sources": list, "unified": bool}
DEVICE_KEYS = {
    "backend": str,
    "description": str,
    "total_mib": int,
    "free_mib": int,
    "free_is_assumed": bool,
    "bandwidth_gb_per_s": (int, float),
    "pcie_generation": int,
    "pcie_lanes": int,
    "tflops": (int, float),
    "network_gbit_per_s": (int, float),
    "network_latency_us": (int, float),
}
HOST_KEYS = {"total_mib": int, "free_mib": int, "bandwidth_gb_per_s": (int, float)}
Table = dict[str, Any]


def machine_names() -> tuple[str, ...]:
    """The machines that come with placer."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def load_machine(text: str) -> Machine:
    """A machine by name or by file; ``+`` puts cards together in one machine.

    Args:
        text: ``"rtx-4090"``, ``"rtx-4090+rtx-5070-ti"``, ``"my-desktop.toml"``.

    Raises:
        InputError: no such machine, or its file is not what it should be.
    """
    if text.endswith(SUFFIX) and Path(text).is_file():
        return with_order(_read(Path(text)))
    parts = [_read(_path(part.strip())) for part in text.split("+")]
    machine = parts[0] if len(parts) == 1 else _together(parts)
    require_devices(machine.devices)
    return with_order(machine)


def with_data_sheets(machine: Machine) -> Machine:
    """The machine, its cards with what the files of such cards say of their speed.

    A card is known by the name that its driver gives it.
    """
    if all(device.bandwidth and device.flops_per_s for device in machine.devices):
        return machine
    sheets = {
        device.description: device
        for name in machine_names()
        for device in load_machine(name).devices
    }
    return replace(
        machine,
        devices=tuple(
            _with_sheet(device, sheets.get(device.description))
            for device in machine.devices
        ),
    )


def _with_sheet(device: Device, sheet: Device | None) -> Device:
    if sheet is None:
        return device
    bandwidth = device.bandwidth_bytes_per_s or sheet.bandwidth_bytes_per_s
    return replace(
        device,
        bandwidth_bytes_per_s=bandwidth,
        flops_per_s=device.flops_per_s or sheet.flops_per_s,
    )


def _path(name: str) -> Path:
    if name.endswith(SUFFIX) or os.sep in name:
        return Path(name)
    path = FOLDER / f"{name.lower()}{SUFFIX}"
    if not path.is_file():
        from difflib import get_close_matches

        names = machine_names()
        near = get_close_matches(name.lower(), names, n=1)
        known = f"there are {', '.join(names)}"
        hint = f"perhaps {near[0]}" if near else known
        raise InputError(
            f"no machine is called {name!r}", hint=f"{hint}; or name a FILE.toml"
        )
    return path


def _together(parts: list[Machine]) -> Machine:
    """One machine with the devices of all, numbered anew."""
    for part in parts:
        if part.is_unified:
            raise InputError(
                f"{part.name} is a whole machine, whose device uses the host's memory",
                hint="put cards together with +, not machines",
            )
    with_host = [part for part in parts if part.host_total_bytes is not None]
    host = with_host[0] if len(with_host) == 1 else parts[0]
    if len(with_host) > 1:
        host = replace(host, host_total_bytes=None, host_free_bytes=None)
    return replace(
        host,
        name=" + ".join(part.name or "" for part in parts),
        devices=_numbered([d for part in parts for d in part.devices]),
        sources=tuple(dict.fromkeys(line for part in parts for line in part.sources)),
    )


def _numbered(devices: list[Device]) -> tuple[Device, ...]:
    """The devices as the engine would name them: each backend counts its own."""
    counts: Counter[str] = Counter()
    numbered = []
    for device in devices:
        backend = device.backend
        name = backend if backend == "Metal" else f"{backend}{counts[backend]}"
        counts[backend] += 1
        numbered.append(replace(device, name=name, buffer_type=name))
    return tuple(numbered)


def _read(path: Path) -> Machine:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", path=path, hint="name a machine file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"is no TOML: {error}", path=path, hint="docs/machines.md has the format"
        ) from None
    with placed(path, None):
        return _machine(table, path)


def _machine(table: Table, path: Path) -> Machine:
    rows, host = table.pop("devices", []), table.pop("host", {})
    top = _checked(table, MACHINE_KEYS, "the machine")
    if not isinstance(rows, list) or not rows or not isinstance(host, dict):
        raise InputError("has no [[devices]]", hint="docs/machines.md has the format")
    memory = _checked(host, HOST_KEYS, "[host]")
    machine = Machine(
        devices=_numbered([_device(row) for row in rows]),
        engine_build=None,
        host_total_bytes=_bytes(memory.get("total_mib")),
        host_free_bytes=_bytes(memory.get("free_mib")),
        name=top.get("name", path.stem),
        host_bandwidth_bytes_per_s=_scaled(memory, "bandwidth_gb_per_s", GB),
        is_unified=top.get("unified", False),
        sources=tuple(map(str, top.get("sources", ()))),
    )
    require_devices(machine.devices)
    return machine


def _device(row: Any) -> Device:
    given = _checked(row, DEVICE_KEYS, "[[devices]]")
    for key in ("backend", "total_mib"):
        if key not in given:
            raise InputError(f"[[devices]] has no {key}", hint="add it")
    backend = backend_of(given["backend"])
    total_mib: int = given["total_mib"]
    free_mib: int = given.get("free_mib", total_mib)
    require_sizes(backend, total_mib, free_mib)
    return Device(
        name=backend,
        buffer_type=backend,
        description=given.get("description", backend),
        total_bytes=from_mib(total_mib),
        free_bytes=from_mib(free_mib),
        bandwidth_bytes_per_s=_scaled(given, "bandwidth_gb_per_s", GB),
        link_generation=given.get("pcie_generation"),
        link_width=given.get("pcie_lanes"),
        flops_per_s=_scaled(given, "tflops", 1e12),
        network_bytes_per_s=_scaled(given, "network_gbit_per_s", GB / 8),
        network_latency_s=_scaled(given, "network_latency_us", 1e-6),
        free_is_assumed=given.get("free_is_assumed", "free_mib" not in given),
    )


def _checked(table: Any, kinds: dict[str, Any], where: str) -> Table:
    """The table, its keys known and its values of their types."""
    if not isinstance(table, dict):
        raise InputError(f"{where} is no table", hint="docs/machines.md has the format")
    for key, value in table.items():
        if key not in kinds:
            raise InputError(
                f"{where} has an unknown key {key!r}", hint=f"use {', '.join(kinds)}"
            )
        is_bool = isinstance(value, bool)
        if not isinstance(value, kinds[key]) or is_bool is not (kinds[key] is bool):
            raise InputError(
                f"{where} has {key} = {value!r}", hint="docs/machines.md has the format"
            )
    return table


def _bytes(n_mib: int | None) -> int | None:
    return None if n_mib is None else from_mib(n_mib)


def _scaled(table: Table, key: str, unit: float) -> float | None:
    """A figure above 0 in its unit, None where it is not given.

    Raises:
        InputError: nothing can be that slow.
    """
    figure = table.get(key)
    if figure is None:
        return None
    if not 0 < figure < float("inf"):
        raise InputError(f"{key} is {figure}", hint="give a number above 0")
    return float(figure) * unit
