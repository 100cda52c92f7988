"""What a llama-server log says: one table of patterns, tolerant of builds.

Log strings move between builds; every spelling that was seen has its row. Cites are
to llama.cpp build 10435.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
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
        retried: whether compute buffers were asked for again without pipelining.
        pipelined: whether the engine runs the devices as a pipeline, in the end.
        graph_splits: of the prefill and the decode graph.
        breakdown: the memory table, as last printed.
        pci_bus_ids: device -> PCI bus id.
        ready: whether the server said that it listens with a model loaded.
        refused: the line that refuses a flag or a model, where there is one.
        port_taken: whether the port was somebody else's.
        decode_failed: the line on which a running server gave up a batch.
        aborted: the line of an abort: a CUDA error, an assertion.
        errors: every line of level E, for the curious.
        projector_bytes: what an image projector takes at most, where one is loaded.
    """

    buffers: tuple[Buffer, ...] = ()
    failures: tuple[AllocationFailure, ...] = ()
    failed_phase: Phase | None = None
    retried: bool = False
    pipelined: bool = False
    graph_splits: tuple[int, int] | None = None
    breakdown: tuple[BreakdownRow, ...] = ()
    pci_bus_ids: tuple[tuple[str, str], ...] = ()
    ready: bool = False
    refused: str | None = None
    port_taken: bool = False
    decode_failed: str | None = None
    aborted: str | None = None
    errors: tuple[str, ...] = ()
    projector_bytes: int | None = None


NUMBER = r"([\d.]+)"
BUFFER = re.compile(rf"(\S+) (model|KV|RS|compute) buffer size =\s*{NUMBER} MiB")
BUFFER_PHASE = {
    "model": Phase.WEIGHTS,
    "KV": Phase.CONTEXT,
    "RS": Phase.CONTEXT,
    "compute": Phase.COMPUTE,
}
# ggml-alloc.c:940 and :1133
FAILED_BUFFER = re.compile(r"failed to allocate (\S+) buffer of size (\d+)")
# ggml-cuda.cu: the same failure, one line earlier and with the device by number
FAILED_CUDA = re.compile(
    rf"allocating {NUMBER} MiB on device (\d+): cudaMalloc failed: out of memory"
)
FAILED_VULKAN = re.compile(r"Device memory allocation of size (\d+) failed")
FAILED_PHASES = (
    (re.compile(r"unable to allocate (\S+) buffer"), Phase.WEIGHTS),
    (re.compile(r"failed to allocate buffer for (kv|rs) cache"), Phase.CONTEXT),
    (re.compile(r"failed to allocate compute (pp|tg) buffers"), Phase.COMPUTE),
    (re.compile(r"failed to allocate compute buffers"), Phase.COMPUTE),
)
RETRY = re.compile(r"retrying without pipeline parallelism")
PIPELINED = re.compile(r"pipeline parallelism enabled")
SPLITS_BY_SIZE = re.compile(r"splits = (\d+) \(with bs=\d+\), (\d+) \(with bs=\d+\)")
SPLITS_PAIR = re.compile(r"splits = (\d+) / (\d+)")
SPLITS = re.compile(r"splits = (\d+)")
TABLE_DEVICE = re.compile(
    r"\|\s+- (\S+) \(.*\)\s*\|\s*(\d+) =\s*(\d+) \+ "
    r"\(\s*\d+ =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\)"
)
TABLE_HOST = re.compile(r"\|\s+- Host\s*\|\s*\d+ =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\s*\|")
TABLE_HEAD = re.compile(r"memory breakdown \[MiB\]")
PCI = re.compile(r"using device (\S+) \(.*\) \(([0-9a-fA-F]{4,8}:[0-9a-fA-F:.]+)\)")
# server-context.cpp:1182, build 11434
PROJECTOR = re.compile(rf"worst-case memory usage of mmproj is {NUMBER} MiB")
READY = re.compile(r"(server is listening on|\blistening on) http")
REFUSED = re.compile(
    r"(error: invalid argument|error while handling|error: unknown argument"
    r"|unknown buffer type|invalid value for|unknown model architecture"
    r"|error loading model(?!: unable to allocate)|failed to load model"
    r"|quantized V cache|V cache quantization requires|is not supported)"
)
PORT_TAKEN = re.compile(r"couldn't bind HTTP server socket")
DECODE_FAILED = re.compile(
    r"(Compute error\.|failed to allocate graph|failed to decode.*ret = -2"
    r"|failed to decode the batch)"
)
ABORTED = re.compile(
    r"((CUDA|ROCm|MUSA) error|GGML_ASSERT|ggml_abort|ErrorOutOfDeviceMemory"
    r"|ErrorDeviceLost|Insufficient Memory|terminate called|pre-allocated tensor"
    r"|Remote RPC server crashed)"
)
# ggml-cuda.cu:103, the line after "CUDA error: ..."
CURRENT_DEVICE = re.compile(r"current device: (\d+), in function")
# A warning, whatever it quotes: the buffer is made without pinning.
UNPINNED = re.compile(r"pinned memory")
# No line that is looked for is longer; some patterns take quadratic time.
LINE_LENGTH = 1000
ERROR_LEVEL = re.compile(r"^\S*\d E |^(error|E) ?:")


def read_log(lines: Iterable[str]) -> LogFacts:
    """The facts of the lines; no line, however torn, raises."""
    reader = _Reader()
    for line in lines:
        reader.feed(line[:LINE_LENGTH].rstrip("\r\n"))
    return reader.facts()


class _Reader:
    """Collects facts line by line."""

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._failures: list[AllocationFailure] = []
        self._rows: dict[str, BreakdownRow] = {}
        self._pci: dict[str, str] = {}
        self._errors: list[str] = []
        self._phase: Phase | None = None
        self._splits: tuple[int, int] | None = None
        self._first: dict[str, str] = {}
        self._pipelined = False
        self._retried = False
        self._projector: int | None = None

    def feed(self, line: str) -> None:
        """Take in one line."""
        if UNPINNED.search(line):
            return
        self._feed_sizes(line)
        self._feed_failures(line)
        self._feed_graph(line)
        for name, pattern in (
            ("ready", READY),
            ("refused", REFUSED),
            ("port_taken", PORT_TAKEN),
            ("decode_failed", DECODE_FAILED),
            ("aborted", ABORTED),
        ):
            if name not in self._first and pattern.search(line):
                if name == "ready":
                    self._forget_failures()
                self._first[name] = line.strip()
        if ERROR_LEVEL.search(line):
            self._errors.append(line.strip())

    def _feed_sizes(self, line: str) -> None:
        if match := BUFFER.search(line):
            self._buffers.append(
                Buffer(
                    device=match[1],
                    phase=BUFFER_PHASE[match[2]],
                    n_bytes=_mib(match[3]),
                )
            )
        elif TABLE_HEAD.search(line):
            self._rows.clear()
        elif match := TABLE_DEVICE.search(line):
            self._add_row(match[1], match[2], match[3], match.groups()[3:])
        elif match := TABLE_HOST.search(line):
            self._add_row("Host", None, None, match.groups())
        elif match := PCI.search(line):
            self._pci[match[1]] = match[2]
        elif match := PROJECTOR.search(line):
            self._projector = _mib(match[1])

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

    def _feed_failures(self, line: str) -> None:
        if match := FAILED_BUFFER.search(line):
            self._fail(match[1], _whole(match[2]), line)
        elif match := FAILED_CUDA.search(line):
            self._fail(f"CUDA{match[2]}", _mib(match[1]), line)
        elif match := FAILED_VULKAN.search(line):
            self._fail("", _whole(match[1]), line)
        elif match := CURRENT_DEVICE.search(line):
            self._fail_in_use(match[1], line)
        for pattern, phase in FAILED_PHASES:
            if match := pattern.search(line):
                self._phase = phase
                if phase is Phase.WEIGHTS:
                    self._fail(match[1], None, line)

    def _fail(self, device: str, asked_bytes: int | None, line: str) -> None:
        self._failures.append(
            AllocationFailure(device=device, asked_bytes=asked_bytes, line=line.strip())
        )

    def _fail_in_use(self, number: str, line: str) -> None:
        said = self._first.get("aborted", "")
        match = ABORTED.search(said)
        if match is not None and match[2] and "out of memory" in said:
            self._fail(match[2] + number, None, line)

    def _forget_failures(self) -> None:
        """The engine went on: what failed before was not what ended it."""
        self._failures.clear()
        self._phase = None
        for name in ("aborted", "decode_failed"):
            self._first.pop(name, None)

    def _feed_graph(self, line: str) -> None:
        if RETRY.search(line):
            self._retried, self._pipelined = True, False
            self._forget_failures()
        elif PIPELINED.search(line):
            self._pipelined = True
        elif match := SPLITS_BY_SIZE.search(line) or SPLITS_PAIR.search(line):
            self._splits = (_whole(match[1]), _whole(match[2]))
        elif match := SPLITS.search(line):
            self._splits = (_whole(match[1]), _whole(match[1]))

    def facts(self) -> LogFacts:
        """All that was collected."""
        return LogFacts(
            buffers=tuple(self._buffers),
            failures=tuple(self._failures),
            failed_phase=self._phase,
            retried=self._retried,
            pipelined=self._pipelined,
            graph_splits=self._splits,
            breakdown=tuple(self._rows.values()),
            pci_bus_ids=tuple(self._pci.items()),
            ready="ready" in self._first,
            refused=self._first.get("refused"),
            port_taken="port_taken" in self._first,
            decode_failed=self._first.get("decode_failed"),
            aborted=self._first.get("aborted"),
            errors=tuple(self._errors),
            projector_bytes=self._projector,
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
