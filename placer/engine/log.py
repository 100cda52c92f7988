"""What a llama-server log says, as facts: tolerant of builds, and of torn lines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from placer.engine import phrases
from placer.units import MIB

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable


class Phase(Enum):
    """When the engine asks for memory."""

    WEIGHTS = "weights"
    CONTEXT = "context"
    COMPUTE = "compute"
    IN_USE = "in use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """A buffer that the engine reports to hold, in bytes (rounded to 0.01 MiB)."""

    device: str
    phase: Phase
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationFailure:
    """A buffer that a device did not give."""

    device: str
    asked_bytes: int | None
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownRow:
    """One row of the engine's memory table, in bytes of whole MiB cut down."""

    device: str
    total_bytes: int | None
    free_bytes: int | None
    model_bytes: int
    context_bytes: int
    compute_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """The facts of a log, in the order in which they were logged.

    Attributes:
        buffers: what was allocated.
        failures: what was not, since the engine last went on.
        failed_phase: the phase whose failure ended the load, where it says.
        phase_line: the line that tells that phase.
        reached: the phase that the load had come to.
        retried: whether compute buffers were asked for again without pipelining.
        pipelined: whether the engine runs the devices as a pipeline, in the end.
        graph_splits: of the prefill and the decode graph.
        breakdown: the memory table, as last printed.
        pci_bus_ids: device -> PCI bus id.
        sole_device: the one GPU that the engine found, where it found one.
        left_bytes: device -> what it said to have free, less what it gave since.
        ready: whether the server said that it listens with a model loaded.
        refused: the line that refuses a flag or a model, where there is one.
        gave_up: the line that ends a launch without saying why.
        projector: the first line on which a projector was being loaded.
        companion: the line by which a draft model or a projector failed.
        port_taken: the line that says that the port was somebody else's.
        decode_failed: the line on which a running server gave up a batch.
        context_full: the line on which a prompt did not fit the context.
        aborted: the line of an abort: a CUDA error, an assertion.
        kernel: the line by which the kernel's driver lost a device.
        no_gpu: the line that says that no GPU is used.
        host_short: the line on which the host had no memory left.
        oom_killed: the line by which the kernel ended the engine for want of memory.
        errors: every line of level E, for the curious.
        projector_bytes: what an image projector takes at most, where one is loaded.
    """

    buffers: tuple[Buffer, ...] = ()
    failures: tuple[AllocationFailure, ...] = ()
    failed_phase: Phase | None = None
    phase_line: str | None = None
    reached: Phase | None = None
    retried: bool = False
    pipelined: bool = False
    graph_splits: tuple[int, int] | None = None
    breakdown: tuple[BreakdownRow, ...] = ()
    pci_bus_ids: tuple[tuple[str, str], ...] = ()
    sole_device: str | None = None
    left_bytes: tuple[tuple[str, int], ...] = ()
    ready: bool = False
    refused: str | None = None
    gave_up: str | None = None
    projector: str | None = None
    companion: str | None = None
    port_taken: str | None = None
    decode_failed: str | None = None
    context_full: str | None = None
    aborted: str | None = None
    kernel: str | None = None
    no_gpu: str | None = None
    host_short: str | None = None
    oom_killed: str | None = None
    errors: tuple[str, ...] = ()
    projector_bytes: int | None = None


BUFFER_PHASE = {
    "model": Phase.WEIGHTS,
    "KV": Phase.CONTEXT,
    "RS": Phase.CONTEXT,
    "compute": Phase.COMPUTE,
}
FIRSTS = (
    ("refused", phrases.FLAG),
    ("refused", phrases.MODEL),
    ("gave_up", phrases.GAVE_UP),
    ("projector", phrases.PROJECTOR_LOADS),
    ("companion", phrases.COMPANION),
    ("port_taken", phrases.PORT_TAKEN),
    ("decode_failed", phrases.DECODE_FAILED),
    ("context_full", phrases.CONTEXT_FULL),
    ("aborted", phrases.ABORTED),
    ("kernel", phrases.KERNEL_LOST),
    ("no_gpu", phrases.NO_GPU),
    ("host_short", phrases.HOST_SHORT),
    ("oom_killed", phrases.OOM_KILLER),
)
# No line that is looked for is longer; some patterns take quadratic time.
LINE_LENGTH = 1000


def read_log(lines: Iterable[str]) -> LogFacts:
    """The facts of the lines; no line, however torn, raises."""
    reader = _Reader()
    for line in lines:
        reader.feed(line[:LINE_LENGTH].rstrip("\r\n"))
    return reader.facts()


def device_of(buffer: str) -> str:
    """The device of a buffer: ``Vulkan0``, ``MTL0_Mapped``, ``RPC0[host:port]``."""
    return buffer.split("[", 1)[0].removesuffix("_Mapped")


def is_host(buffer: str) -> bool:
    """Whether a buffer lies in the host's memory."""
    return buffer.startswith("CPU") or buffer.endswith("_Host")


class _Reader:
    """Collects facts line by line."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._failures: list[AllocationFailure] = []
        self._rows: dict[str, BreakdownRow] = {}
        self._pci: dict[str, str] = {}
        self._left: dict[str, int] = {}
        self._errors: list[str] = []
        self._phase: Phase | None = None
        self._phase_line: str | None = None
        self._sole: str | None = None
        self._reached: Phase | None = None
        self._splits: tuple[int, int] | None = None
        self._first: dict[str, str] = {}
        self._cuda_kind = "CUDA"
        self._pipelined = False
        self._retried = False
        self._projector: int | None = None

    def feed(self, line: str) -> None:
        """Take in one line."""
        if phrases.UNPINNED.search(line):
            return
        found = phrases.PREFIX.match(line)
        level = found["level"] if found else None
        said = phrases.message(line)
        self._feed_sizes(line)
        self._feed_graph(line)
        self._feed_reached(said)
        if level == "D":
            # Only this is told of no other level, and only of a need in use.
            if match := phrases.FAILED_CUDA_POOL.search(said):
                self._fail(f"{match[1]}{match[2]}", _mib(match[3]), line)
            return
        self._feed_failures(line, said)
        self._feed_firsts(line, said, is_warning=level == "W")
        if phrases.ERROR_LEVEL.search(line):
            self._errors.append(line.strip())

    def _feed_firsts(self, line: str, said: str, *, is_warning: bool) -> None:
        if phrases.READY.search(said) and "ready" not in self._first:
            self._forget_failures()
            self._first["ready"] = line.strip()
        elif phrases.IDLE.search(said):
            # A log that begins in the middle: what failed before failed in use.
            self._first.setdefault("ready", line.strip())
        if is_warning:
            return
        for name, pattern in FIRSTS:
            if name not in self._first and pattern.search(said):
                self._first[name] = line.strip()

    def _feed_reached(self, said: str) -> None:
        for pattern, phase in phrases.REACHED:
            if pattern.search(said):
                self._reached = Phase(phase)

    def _feed_sizes(self, line: str) -> None:
        if match := phrases.BUFFER.search(line):
            self._add_buffer(match[1], BUFFER_PHASE[match[2]], _mib(match[3]))
        elif match := phrases.OLD_WEIGHTS.search(line):
            self._add_buffer(match[1], Phase.WEIGHTS, _mib(match[2]))
        elif phrases.TABLE_HEAD.search(line):
            self._rows.clear()
        elif match := phrases.TABLE_DEVICE.search(line):
            self._add_row(match[1], match[2], match[3], match.groups()[3:])
        elif match := phrases.TABLE_HOST.search(line):
            self._add_row("Host", None, None, match.groups())
        elif match := phrases.PROJECTOR.search(line):
            self._projector = _mib(match[1])
        self._feed_device(line)

    def _feed_device(self, line: str) -> None:
        if match := phrases.PCI.search(line):
            self._pci[match[1]] = match[2]
        if match := phrases.FREE.search(line):
            self._left[match[1]] = _whole(match[2]) * MIB
        if match := phrases.CUDA_KIND.search(line):
            self._cuda_kind = match[1] or match[2]
        if match := phrases.FOUND.search(line):
            self._sole = f"{match[2]}0" if match[1] == "1" else None

    def _add_buffer(self, device: str, phase: Phase, n_bytes: int) -> None:
        self._buffers.append(Buffer(device=device, phase=phase, n_bytes=n_bytes))
        name = device_of(device)
        if name in self._left:
            self._left[name] = max(self._left[name] - n_bytes, 0)

    def _add_row(
        self, device: str, total: str | None, free: str | None, parts: tuple[str, ...]
    ) -> None:
        model, context, compute = (_mib(part) for part in parts)
        self._rows[device] = BreakdownRow(
            device=device,
            total_bytes=None if total is None else _mib(total),
            free_bytes=None if free is None else _mib(free),
            model_bytes=model,
            context_bytes=context,
            compute_bytes=compute,
        )

    def _feed_failures(self, line: str, said: str) -> None:
        if match := phrases.FAILED_BUFFER.search(said):
            self._fail(match[1], _whole(match[2]), line)
        elif match := phrases.FAILED_CUDA.search(said):
            self._fail(f"CUDA{match[2]}", _mib(match[1]), line)
        elif match := phrases.FAILED_METAL.search(said):
            self._fail("", _mib(match[1]), line)
        elif match := phrases.FAILED_VULKAN.search(said):
            self._fail("", _whole(match[1]), line)
        elif match := phrases.FAILED_SYCL.search(said):
            host = match[2] == "host"
            self._fail("CPU" if host else "", _whole(match[1]), line)
        elif match := phrases.FAILED_CPU.search(said):
            self._fail("CPU", _whole(match[1]), line)
        elif match := phrases.CURRENT_DEVICE.search(said):
            self._fail_in_use(match[1], line)
        self._feed_phase(line, said)

    def _feed_phase(self, line: str, said: str) -> None:
        for pattern, phase in phrases.PHASES:
            match: re.Match[str] | None = pattern.search(said)
            if match is None:
                continue
            self._phase, self._phase_line = Phase(phase), line.strip()
            if match[0].endswith(" buffer") and match[1]:
                # "backend" names none, "backend metal" one
                name = match[1].removeprefix("backend").strip()
                self._fail("Metal" if name == "metal" else name, None, line)

    def _fail(self, device: str, asked_bytes: int | None, line: str) -> None:
        self._failures.append(
            AllocationFailure(device=device, asked_bytes=asked_bytes, line=line.strip())
        )

    def _fail_in_use(self, number: str, line: str) -> None:
        said = self._first.get("aborted", "")
        match = phrases.ABORTED.search(phrases.message(said))
        if match is not None and match[2] and "out of memory" in said:
            self._fail(match[2] + number, None, line)

    def _forget_failures(self) -> None:
        """The engine went on: what failed before was not what ended it."""
        self._failures.clear()
        self._phase = self._phase_line = None
        for name in ("aborted", "decode_failed", "host_short"):
            self._first.pop(name, None)

    def _feed_graph(self, line: str) -> None:
        if phrases.RETRY.search(line):
            self._retried, self._pipelined = True, False
            self._forget_failures()
        elif phrases.PIPELINED.search(line):
            self._pipelined = True
        elif match := phrases.SPLITS_BY_SIZE.search(line) or phrases.SPLITS_PAIR.search(
            line
        ):
            self._splits = (_whole(match[1]), _whole(match[2]))
        elif match := phrases.SPLITS.search(line):
            self._splits = (_whole(match[1]), _whole(match[1]))

    def _named(self, failure: AllocationFailure) -> AllocationFailure:
        """The failure with its device by its name: ROCm0 where the engine is HIP's."""
        if not failure.device.startswith("CUDA") or self._cuda_kind == "CUDA":
            return failure
        return AllocationFailure(
            device=self._cuda_kind + failure.device.removeprefix("CUDA"),
            asked_bytes=failure.asked_bytes,
            line=failure.line,
        )

    def facts(self) -> LogFacts:
        """All that was collected."""
        first = {name: self._first.get(name) for name, _ in FIRSTS}
        return LogFacts(
            buffers=tuple(self._buffers),
            failures=tuple(self._named(failure) for failure in self._failures),
            failed_phase=self._phase,
            phase_line=self._phase_line,
            reached=self._reached,
            retried=self._retried,
            pipelined=self._pipelined,
            graph_splits=self._splits,
            breakdown=tuple(self._rows.values()),
            pci_bus_ids=tuple(self._pci.items()),
            sole_device=self._sole,
            left_bytes=tuple(self._left.items()),
            ready="ready" in self._first,
            errors=tuple(self._errors),
            projector_bytes=self._projector,
            **first,
        )


def _mib(text: str) -> int:
    """Bytes of a number of MiB; a torn number is 0, which no figure rests on."""
    try:
        return round(float(text[:18]) * MIB)
    except ValueError:
        return 0


def _whole(text: str) -> int:
    # A log is not trusted: int() refuses more than 4300 digits.
    return int(text[:18])
