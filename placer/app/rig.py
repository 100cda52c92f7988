"""The engine and the devices that a verb works with, for as long as it works."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from placer.engine.binary import Engine, find_binary, identify, list_devices
from placer.engine.process import LocalRunner, Runner
from placer.errors import InputError, MachineError
from placer.machine import Device, Machine
from placer.machine.host import host_bandwidth
from placer.machine.network import with_network
from placer.machine.nvml import NvmlWatch, with_nvml
from placer.machine.overhead import with_overhead
from placer.units import from_mib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.engine.docker import ContainerEngine
    from placer.engine.gauge import MemoryWatch
    from placer.testing import EmulatedMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """An engine that answers, its devices, and how to start it.

    Attributes:
        engine: the llama-server and its environment.
        machine: its devices, with what was free when they were asked.
        runner: starts it.
        watch: memory of its processes, where it can be seen.
        emulated: whether the devices are not real.
        compiles_shaders: whether the first prompt will compile shaders for most of a
            minute: emulated devices, before their cache is warm.
    """

    engine: Engine | ContainerEngine
    machine: Machine
    runner: Runner
    watch: MemoryWatch | None
    emulated: bool = False
    compiles_shaders: bool = False

    @property
    def owner(self) -> str:
        """Whose the devices are alone: an emulated machine is nobody else's."""
        return str(self.engine.config_home) if self.emulated else ""

    def free_bytes(self) -> tuple[int, ...]:
        """What each device has free now, by the engine's list."""
        free = {d.name: d.free_bytes for d in list_devices(self.engine)}
        return tuple(free.get(d.name, 0) for d in self.machine.devices)

    def only(self, names: tuple[str, ...] | None) -> Rig:
        """The same rig with these devices alone; all of them for None.

        Raises:
            InputError: one of them is not there.
        """
        if names is None:
            return self
        listed = [device.name for device in self.machine.devices]
        machine = self.machine.only(names)
        watch = self.watch
        if watch is not None:
            watch = PartialWatch(watch, tuple(listed.index(name) for name in names))
        return replace(self, machine=machine, watch=watch)


class PartialWatch:
    """What another watch sees, of some of its devices."""

    def __init__(self, watch: MemoryWatch, indexes: tuple[int, ...]) -> None:
        self._watch = watch
        self._indexes = indexes

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """The most that the process was seen to hold of each of the devices."""
        return self._of(self._watch.peak_bytes(pid))

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        """What all but the process hold of each of the devices now."""
        return self._of(self._watch.others_bytes(pid))

    def _of(self, seen: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if seen is None else tuple(seen[i] for i in self._indexes)


@contextmanager
def open_rig(
    *,
    server: Path | None = None,
    emulate: tuple[int, ...] | None = None,
    rpc: str | None = None,
    folder: Path | None = None,
    image: str | None = None,
    memory_mib: int | None = None,
) -> Iterator[Rig]:
    """An engine and its devices.

    Args:
        server: the llama-server, or None for the one of the environment or of PATH.
        emulate: capacities in MiB of emulated GPUs to use instead of the real ones.
        rpc: endpoints of ``--rpc``, ``"host:port,host:port"``.
        folder: of an engine that outlives the command: its settings and its emulated
            devices stay there. None for a temporary one.
        image: whose containers are started; ``server`` is a program inside it.
        memory_mib: of the host that a container may take.

    Raises:
        MachineError: no engine, no device, or an engine that does not work.
    """
    with ExitStack() as stack:
        home = _home(folder, stack)
        emulated = None
        if emulate is not None:
            gpus = None if folder is None else folder / "gpus"
            emulated = stack.enter_context(_emulated(emulate, gpus))
        engine: Engine | ContainerEngine
        if image is None:
            engine = _local(server, home, emulated)
        else:
            found = stack.enter_context(_containers(image, server, home, emulated))
            engine = replace(found, memory_bytes=memory_mib and from_mib(memory_mib))
        yield _rig(replace(engine, rpc=rpc), emulated)


def _local(server: Path | None, home: Path, emulated: EmulatedMachine | None) -> Engine:
    binary = find_engine(server, emulated=emulated is not None)
    variables = {} if emulated is None else emulated.env
    return Engine(binary=binary, config_home=home, variables=variables)


@contextmanager
def _containers(
    image: str, program: Path | None, home: Path, emulated: EmulatedMachine | None
) -> Iterator[ContainerEngine]:
    """The engine of an image; of its containers only those that serve are left."""
    from placer.engine.docker import connect, open_engine, remove_orphans, remove_own

    client = connect()
    remove_orphans()
    engine = open_engine(client, image, config_home=home, program=program)
    if emulated is not None:
        engine = replace(engine, variables=emulated.env, folders=emulated.folders)
    try:
        yield engine
    finally:
        remove_own(client)


def _home(folder: Path | None, stack: ExitStack) -> Path:
    """The engine's XDG_CONFIG_HOME, an empty folder."""
    if folder is None:
        made = tempfile.TemporaryDirectory(prefix="placer-")
        return Path(stack.enter_context(made))
    home = folder.absolute() / "home"
    home.mkdir(parents=True, exist_ok=True)
    return home


def _rig(engine: Engine | ContainerEngine, emulated: EmulatedMachine | None) -> Rig:
    engine = replace(engine, build=identify(engine))
    devices = list_devices(engine)
    if not devices:
        raise MachineError(
            "lists no device",
            path=engine.binary,
            hint="use a build for your GPU, or --emulate 400,300 to try without one",
        )
    watch: MemoryWatch | None = NvmlWatch.of(devices)
    compiles = False
    if emulated is not None:
        from placer.testing import EmulatedWatch, shader_cache_is_cold

        watch, compiles = EmulatedWatch(emulated), shader_cache_is_cold()
    known = with_network(with_nvml(devices), engine.rpc)
    machine = with_overhead(machine_of(known, engine.build))
    if emulated is None:
        machine = replace(machine, host_bandwidth_bytes_per_s=host_bandwidth())
    return Rig(
        engine=engine,
        machine=machine,
        runner=_runner(engine),
        watch=watch,
        emulated=emulated is not None,
        compiles_shaders=compiles,
    )


def _runner(engine: Engine | ContainerEngine) -> Runner:
    if isinstance(engine, Engine):
        return LocalRunner(engine)
    from placer.engine.docker import ContainerRunner

    return ContainerRunner(engine)


def machine_of(devices: tuple[Device, ...], build: str | None) -> Machine:
    """The devices with the host's memory as it is now."""
    import psutil

    memory = psutil.virtual_memory()
    return Machine(
        devices=devices,
        engine_build=build,
        host_total_bytes=memory.total,
        host_free_bytes=memory.available,
    )


def _emulated(capacities_mib: tuple[int, ...], folder: Path | None) -> EmulatedMachine:
    from placer.testing import EmulatedMachine

    if not capacities_mib or min(capacities_mib) < 1:
        raise InputError(
            "emulated devices need a capacity", hint="give MiB, as in --emulate 400,300"
        )
    return EmulatedMachine(capacities_mib, folder=folder)


def find_engine(server: Path | None, *, emulated: bool) -> Path:
    """The program of this machine; for emulated devices rather the bundled one.

    Raises:
        MachineError: none is there.
    """
    if not emulated:
        return find_binary(server)
    from placer.testing import bundled_engine

    return find_binary(server, bundled_engine())
