"""An executable that behaves like llama-server, made in a millisecond.

::

    engine = fake_engine(folder, devices={"Vulkan0": 400, "Vulkan1": 300})
    Engine(binary=engine, config_home=folder)

It reads the model's header, needs memory by placer's own formula, and writes the log
and answers the requests that the real engine would. What it hides from its dry run
(``overhead_mib``), what the formula gets wrong (``compute_factor``) and how it fails
(``fault``) are chosen here. ``launches`` tells what was asked of it.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

DEVICES = {"Vulkan0": 400, "Vulkan1": 300}
BUILD = 10434
COMMIT = "7e4c0a9"


class Fault(Enum):
    """How an engine goes wrong."""

    SIGILL_AT_START = "sigill at start"
    SIGILL_AT_PROMPT = "sigill at prompt"
    EXIT_EARLY = "exit early"
    CUT_OFF = "cut off"
    HANG_AT_LOAD = "hang at load"
    HANG_AT_PROMPT = "hang at prompt"
    OOM_IN_USE = "oom in use"
    OOM_AT_IMAGE = "oom at image"
    CUDA_ERROR = "cuda error"
    DEVICE_LOST = "device lost"
    KILLED = "killed"
    PORT_TAKEN = "port taken"
    GARBAGE = "garbage"
    SLOW = "slow"
    DEAF = "deaf"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeConfig:
    """What a fake engine is; see ``fake_engine``."""

    devices: Mapping[str, int]
    overhead_mib: Mapping[str, int] = field(default_factory=dict)
    in_use_mib: Mapping[str, int] = field(default_factory=dict)
    compute_factor: float = 1.0
    fault: Fault | None = None
    fault_after: int = 0
    fault_times: int | None = None
    pace: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the file beside the executable."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values["fault"] = None if self.fault is None else self.fault.value
        return json.dumps(values, indent=1)

    @classmethod
    def from_json(cls, text: str) -> FakeConfig:
        """What ``to_json`` wrote."""
        values = json.loads(text)
        fault = values.pop("fault")
        return cls(fault=None if fault is None else Fault(fault), **values)

    def fault_in(self, launch: int) -> Fault | None:
        """The fault of the launch of this number, counted from 1, where it has one."""
        over = launch - self.fault_after
        if over < 1 or (self.fault_times is not None and over > self.fault_times):
            return None
        return self.fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One time that a fake engine was told to load a model."""

    pid: int
    args: tuple[str, ...]
    dry_run: bool


def fake_engine(
    folder: Path,
    *,
    devices: Mapping[str, int] | None = None,
    overhead_mib: Mapping[str, int] | None = None,
    in_use_mib: Mapping[str, int] | None = None,
    compute_factor: float = 1.0,
    fault: Fault | None = None,
    fault_after: int = 0,
    fault_times: int | None = None,
) -> Path:
    """The path of a new executable in ``folder``, one a folder.

    Args:
        folder: where it is made; it must be there.
        devices: MiB that each device has, all of them free.
        overhead_mib: MiB of a device that nobody can have and no dry run shows.
        in_use_mib: MiB that a device needs beyond its buffers at the first prompt.
        compute_factor: compute buffers, in terms of the formula's.
        fault: how it fails.
        fault_after: launches, dry runs not counted, that go well before.
        fault_times: launches that fail before all go well again; None for ever.
    """
    config = FakeConfig(
        devices=dict(DEVICES if devices is None else devices),
        overhead_mib=dict(overhead_mib or {}),
        in_use_mib=dict(in_use_mib or {}),
        compute_factor=compute_factor,
        fault=fault,
        fault_after=fault_after,
        fault_times=fault_times,
    )
    binary = folder / "llama-server"
    config_path(binary).write_text(config.to_json())
    package_root = Path(__file__).parents[2]
    binary.write_text(
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(str(package_root))}${{PYTHONPATH:+:$PYTHONPATH}} "
        f"exec {shlex.quote(sys.executable)} -m placer.testing.fake_program "
        f'{shlex.quote(str(config_path(binary)))} "$@"\n'
    )
    binary.chmod(0o755)
    return binary


def set_pace(binary: Path, factors: Mapping[str, float]) -> None:
    """Let what the engine says of its speed depend on its flags, and on nothing else.

    Args:
        binary: the engine.
        factors: of the time of a token, by flag and value: ``{"-ub 1024": 0.5}``.
    """
    config = FakeConfig.from_json(config_path(binary).read_text())
    paced = replace(config, pace=dict(factors))
    config_path(binary).write_text(paced.to_json())


def launches(binary: Path) -> tuple[Launch, ...]:
    """What the engine was told to load, oldest first, dry runs among them."""
    try:
        lines = _launches_path(config_path(binary)).read_text().splitlines()
    except FileNotFoundError:
        return ()
    records = [json.loads(line) for line in lines]
    return tuple(
        Launch(pid=r["pid"], args=tuple(r["args"]), dry_run=r["dry_run"])
        for r in records
    )


def config_path(binary: Path) -> Path:
    """The file beside the executable that says what it is."""
    return binary.with_suffix(".json")


def record_launch(config: Path, launch: Launch) -> int:
    """Note a launch beside the configuration; which launch it is, from 1."""
    record = {"pid": launch.pid, "args": launch.args, "dry_run": launch.dry_run}
    path = _launches_path(config)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    lines = path.read_text().splitlines()
    return sum(1 for line in lines if not json.loads(line)["dry_run"])


def _launches_path(config: Path) -> Path:
    return config.with_suffix(".launches.jsonl")


def running(binary: Path) -> tuple[int, ...]:
    """The process ids of launches of the engine that are still alive."""
    import psutil

    def is_alive(pid: int) -> bool:
        try:
            process = psutil.Process(pid)
            return (
                str(config_path(binary)) in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    return tuple(launch.pid for launch in launches(binary) if is_alive(launch.pid))


def die(number: signal.Signals) -> NoReturn:
    """End this process by a signal, with no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), number)
    raise AssertionError("a signal that kills has killed")
