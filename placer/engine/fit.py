"""What llama-server's own ``--fit`` would do: its placement, and no weight read.

``--fit on`` tries placements on models that it makes without memory, and goes on to
load the model by the last one. It prints no flags, but with ``-v`` it says of that load
which device each layer goes to and which tensors go elsewhere, before it maps the file
(llama-model.cpp:1596, llama-model-loader.cpp:1253 and :1404). There it is stopped. All
that it says of the models it tries is said before ``fitting params to free memory
took`` (fit.cpp:902). Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine.dryrun import MEASURED, STEP_S, require_all
from placer.engine.follow import LogFollower
from placer.engine.log import LINE_LENGTH, read_log
from placer.placement import Placement, TensorException
from placer.placement.flags import home_buffers
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess, Runner
    from placer.machine import Machine
    from placer.model import ModelShape

# It tries a dozen placements or two, each in a fraction of a second.
TIMEOUT_S = 600.0
TOOK = re.compile(rf"{MEASURED} (\d+\.?\d*) seconds")
UNCHANGED = "no changes needed"
# fit.cpp:895 and :898: it loads all the same.
FAILED = re.compile(
    r"((?:failed to fit params|encountered an error while trying to fit params)"
    r" to free device memory: .+)"
)
# fit.cpp:864, of each device that got whole layers with experts
OVERFLOWING = re.compile(r"\(\s*[1-9]\d* overflowing\)")
TABLE = "memory_breakdown_print: |"
LAYER = re.compile(r"load_tensors: layer\s+(\d{1,9}) assigned to device ([^\s,]+)")
OVERRIDDEN = re.compile(r"tensor (\S+) \(.*\) buffer type overridden to (\S+)")
# All tensors have their place: the first line is said before memory is asked for,
# unless every tensor could be where its layer prefers it; the others soon after.
PLACED = re.compile(
    r"cannot be used with preferred buffer type"
    r"|load_tensors: offload(ing|ed) |model buffer size =|unable to allocate"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitAnswer:
    """Where ``--fit`` would put a model.

    That it did not fail is its own word: it fills the last device first and does not
    look again, when all layers on devices bring pipelining and larger compute buffers
    (fit.cpp:675). The dry run of the placement says what it leaves free.

    Attributes:
        placement: what it would load.
        seconds: what it says that fitting took.
        waited_s: from its start until it said so.
        changed: whether it moved anything; if not, its defaults leave enough free
            (``-ngl all``, ``-ts`` by free memory), or it failed.
        message: its own words where it failed. It loads all the same.
    """

    placement: Placement
    seconds: float
    changed: bool
    message: str | None = None
    waited_s: float | None = None


def fit(
    runner: Runner,
    args: Sequence[str],
    shape: ModelShape,
    machine: Machine,
    margins_bytes: Sequence[int],
    *,
    log_path: Path,
) -> FitAnswer | None:
    """What the engine's ``--fit`` comes to, or None if it does not get so far.

    Why not is what ``dryrun.refusal`` says of the log.

    Args:
        runner: starts the engine.
        args: the flags of the launch, without a placement. With ``-c`` among them the
            context stays as it is (fit.cpp:455).
        shape: the model.
        machine: the devices.
        margins_bytes: what each device is to keep free, rounded up to whole MiB.
        log_path: where the engine's output goes.

    Raises:
        MachineError: the engine lists a device that it does not use by itself.
    """
    margins = ",".join(str(-(-n_bytes // MIB)) for n_bytes in margins_bytes)
    asked = [*args, *machine.device_args, "--fit", "on", "-fitt", margins, "-v"]
    process = runner.start(asked, log_path=log_path)
    try:
        said = _said_until_placed(process)
    finally:
        process.stop()
    require_all(read_log(said.table_lines), machine)
    return said.answer(shape, machine)


class FitLog:
    """What a log with ``--fit on -v`` says of the fit and of the load behind it."""

    def __init__(self) -> None:
        self.table_lines: list[str] = []
        self.is_complete = False
        self.waited_s: float | None = None
        self._seconds: float | None = None
        self._unchanged = False
        self._overflowing = False
        self._message: str | None = None
        self._layers: dict[int, str] = {}
        self._moved: dict[str, str] = {}

    def feed(self, line: str) -> None:
        """Take in one line; what follows a complete load does not count."""
        line = line[:LINE_LENGTH]
        if self.is_complete:
            return
        if self._seconds is None:
            self._feed_fit(line)
        else:
            self._feed_load(line)

    def _feed_fit(self, line: str) -> None:
        if TABLE in line:
            self.table_lines.append(line)
        elif UNCHANGED in line:
            self._unchanged = True
        elif OVERFLOWING.search(line):
            self._overflowing = True
        elif match := FAILED.search(line):
            self._message = match[1].strip()
        elif match := TOOK.search(line):
            self._seconds = float(match[1])

    def _feed_load(self, line: str) -> None:
        if match := LAYER.search(line):
            self._layers[int(match[1])] = match[2]
        elif match := OVERRIDDEN.search(line):
            self._moved[match[1]] = match[2]
        elif PLACED.search(line):
            self.is_complete = bool(self._layers)

    @property
    def has_fitted(self) -> bool:
        """Whether what follows is the load."""
        return self._seconds is not None

    def answer(self, shape: ModelShape, machine: Machine) -> FitAnswer | None:
        """What it comes to; None where the engine did not get so far."""
        if self._seconds is None or not self.is_complete:
            return None
        if set(self._layers) != set(range(shape.n_slots)):
            return None
        return FitAnswer(
            placement=self._placement(shape, machine),
            seconds=self._seconds,
            changed=not self._unchanged and self._message is None,
            message=self._message,
            waited_s=self.waited_s,
        )

    def _placement(self, shape: ModelShape, machine: Machine) -> Placement:
        devices = list(self._layers.values())
        split = tuple(devices.count(device.name) for device in machine.devices)
        home = home_buffers(Placement(split=split), shape, machine)
        exceptions = frozenset(
            TensorException(tensor=name, buffer=buffer)
            for name, buffer in self._buffers(machine.buffer_types)
            if buffer != home.get(name)
        )
        # Patterns that move nothing still switch pipelining off: llama-context.cpp:437.
        patterns = bool(self._moved) or self._overflowing
        unpipelined = patterns and not exceptions
        return Placement(split=split, exceptions=exceptions, unpipelined=unpipelined)

    def _buffers(self, known: Sequence[str]) -> Iterable[tuple[str, str]]:
        """Each moved tensor and its buffer, as ``-ot`` spells it.

        ``-ot`` to the CPU is said as the buffer that the CPU prefers for the tensor:
        ``CUDA_Host``, ``CPU_REPACK`` (llama-model-loader.cpp:1241).
        """
        for name, buffer in self._moved.items():
            yield name, buffer if buffer in known else "CPU"


def _said_until_placed(process: EngineProcess) -> FitLog:
    follower = LogFollower(process.log_path)
    started_s = time.monotonic()
    said = FitLog()
    while time.monotonic() < started_s + TIMEOUT_S:
        ended = process.exit_code() is not None
        for line in follower.new_lines():
            said.feed(line)
        if said.waited_s is None and said.has_fitted:
            said.waited_s = time.monotonic() - started_s
        if ended or said.is_complete:
            break
        time.sleep(STEP_S)
    return said
