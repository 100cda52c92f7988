"""A machine with GPUs that are not there: capacity, usage and refusal are real.

Mesa's lavapipe, a Vulkan driver that computes on the CPU, is listed once for each
device, and a Vulkan layer gives each its own memory. ``docs/emulated-gpus.md``
says what is exact about it and what is not.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from placer.errors import InputError
from placer.testing.layer import LAYER, cache_folder, driver_library, layer_folder
from placer.testing.state import StateFile, create_state
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.testing.state import ProcessUsage


class EmulatedMachine:
    """GPUs of the given capacities, for every process that is given ``env``.

    Args:
        capacities_mib: one capacity a device, 1 to 16 of them.
        folder: where the machine's files go, and stay; a machine of the same
            capacities that is there already is joined as it is. A temporary folder
            that ``close`` removes when it is None.

    Raises:
        InputError: no device, too many, one without capacity, or a folder whose
            name holds the separator of ``PATH``-like variables.
        MachineError: no compiler, Vulkan headers or lavapipe.
    """

    def __init__(
        self, capacities_mib: Sequence[int], *, folder: Path | None = None
    ) -> None:
        layers, driver = layer_folder(), driver_library()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="emulated-gpus-")
            folder = Path(self._temporary.name)
        try:
            folder = folder.resolve()
            state = folder / "state"
            drivers = _write_machine(folder, state, capacities_mib, driver)
            self._state = StateFile(state)
            # What a container has to see of this machine to see the devices.
            self.folders = (folder, layers, shader_cache())
        except BaseException:
            self._remove_temporary()
            raise
        self.env: Mapping[str, str] = MappingProxyType(
            _environment(layers, drivers, state)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The machine's files are let go of; no process should use it any more."""
        self._state.close()
        self._remove_temporary()

    def used_bytes(self, *, beside: int | None = None) -> tuple[int, ...]:
        """What is used of each device by all processes and pretended neighbours.

        Args:
            beside: the id of a process that is left out.
        """
        return self._state.used_bytes(beside=beside)

    def capacity_bytes(self) -> tuple[int, ...]:
        """The capacity of each device, as it stands now."""
        return self._state.capacity_bytes()

    def usage(self) -> tuple[ProcessUsage, ...]:
        """What each process uses, oldest first, those that have ended included."""
        return self._state.usage()

    def peak_bytes(self, pid: int) -> tuple[int, ...]:
        """The most that a process ever used of each device; it may have ended.

        Zeros for a process that has not opened the devices.
        """
        for usage in reversed(self._state.usage()):
            if usage.pid == pid:
                return usage.peak_bytes
        return (0,) * self._state.device_count

    def set_capacity(self, device: int, mib: int) -> None:
        """Allocations from now on are held against this capacity.

        What is allocated already stays, also when it is more.
        """
        self._state.set_capacity(device, mib * MIB)

    def occupy(self, device: int, mib: int) -> None:
        """A neighbour, no process of ours, uses so much of a device; 0 ends that."""
        self._state.set_neighbour(device, mib * MIB)

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


class EmulatedWatch:
    """Memory of processes on the emulated devices, as NVML gives it on real ones."""

    def __init__(self, machine: EmulatedMachine) -> None:
        self._machine = machine

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """The most that the process held of each device; None before it opened them."""
        peak = self._machine.peak_bytes(pid)
        return peak if any(peak) else None

    def others_bytes(self, pid: int) -> tuple[int, ...]:
        """What other processes and pretended neighbours hold of each device."""
        return self._machine.used_bytes(beside=pid)


def shader_cache() -> Path:
    """Where lavapipe keeps the shaders that it has compiled."""
    return cache_folder() / "shaders"


def shader_cache_is_cold() -> bool:
    """Whether no shader is kept yet: the first prompt then waits for them.

    That wait is up to a minute, once for each build of the engine and of Mesa. A
    warm cache may still lack what a model of another kind needs.
    """
    return not any(path.is_file() for path in shader_cache().rglob("*"))


def _write_machine(
    folder: Path, state: Path, capacities_mib: Sequence[int], driver: str
) -> list[Path]:
    """The files of a machine; one driver manifest a device comes back."""
    if ":" in str(folder):
        raise InputError("the name of the folder cannot hold a colon", path=folder)
    folder.mkdir(parents=True, exist_ok=True)
    capacities = [mib * MIB for mib in capacities_mib]
    if not _is_machine_of(state, capacities):
        create_state(state, capacities)
    icd = {"library_path": driver, "api_version": "1.3.0"}
    manifests = [folder / f"card{i:02}.json" for i in range(len(capacities_mib))]
    for manifest in manifests:
        manifest.write_text(
            json.dumps({"file_format_version": "1.0.0", "ICD": icd}, indent=2)
        )
    return manifests


def _is_machine_of(state: Path, capacities_bytes: Sequence[int]) -> bool:
    """Whether a machine of these capacities stands in the file."""
    if not state.is_file():
        return False
    try:
        found = StateFile(state)
    except InputError:
        return False
    with closing(found):
        return found.capacity_bytes() == tuple(capacities_bytes)


def _environment(layers: Path, drivers: list[Path], state: Path) -> dict[str, str]:
    driver_files = ":".join(str(path) for path in drivers)
    shaders = shader_cache()
    shaders.mkdir(parents=True, exist_ok=True)
    return {
        # The older and the newer name of one variable; a loader that knows both
        # takes the newer.
        "VK_ICD_FILENAMES": driver_files,
        "VK_DRIVER_FILES": driver_files,
        "VK_LAYER_PATH": str(layers),
        "VK_INSTANCE_LAYERS": LAYER,
        # Mesa's own layer may put another device first; likewise, two names.
        "NODEVICE_SELECT": "1",
        "VK_LOADER_LAYERS_DISABLE": "~implicit~",
        "GGML_VK_VISIBLE_DEVICES": ",".join(str(i) for i in range(len(drivers))),
        "PLACER_EMULATED_STATE": str(state),
        "MESA_SHADER_CACHE_DIR": str(shaders),
    }
