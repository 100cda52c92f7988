"""A log as it comes from elsewhere: a paste, a container's, a journal's.

What others put before, around and between the engine's own lines is taken off, and
the last launch is cut out.
"""

from __future__ import annotations

import codecs
import json
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine import phrases
from placer.engine.log import LINE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What is before a message may take some room, too.
RAW_LENGTH = 4 * LINE_LENGTH
COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff]")
FENCE = re.compile(r"^\s{0,8}(```|~~~)")
DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,\d]{0,12}(?:Z|[+-]\d\d:?\d\d)?"
# What may stand before a message; a group is the process that said it.
DECORATIONS = (
    re.compile(r"^\s{0,8}>(?: |$)"),
    re.compile(r"^[\w.-]{1,64}\s{1,40}\|(?: |$)"),
    re.compile(
        r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S{1,64} ([\w@./-]{1,64}(?:\[\d+\])?): "
    ),
    re.compile(rf"^{DATE} \S{{1,64}} ([\w@./-]{{1,64}}\[\d+\]): "),
    re.compile(rf"^\[?{DATE}\]?\s+"),
    re.compile(r"^\[\d{10}\] "),
    re.compile(r"^\[ {0,6}\d+\.\d{6}\] "),
    re.compile(r"^\[(\d{2,5})\] +"),
    re.compile(r"^\[?\d\d:\d\d:\d\d(?:\.\d+)?\]?\s+"),
    re.compile(r"^(?:stdout|stderr) [FP] "),
)
MOST_DECORATIONS = 6
SERVICES = ("systemd", "kernel", "dockerd", "containerd")
CLOCK = re.compile(r"^(\d{1,6})\.(\d\d)\.(\d{3})\.\d{3} ")
# A clock that starts anew below this started with a process.
FRESH_S = 2.0

HEAD = re.compile(
    r"^(?:\w+: )?build(?: =|:) \d+ \(|\bbuild_info: b\d|print_info: (?:build|verbosity)"
    r"|\"msg\":\"build info\"|^system_info: n_threads|: binding port with"
)
BODY = re.compile(
    r"(^llama_model_loader: |loading model|^(llm_)?load_tensors: |listening on"
    r"|couldn't bind|error loading|exiting due|^error: |CUDA error"
    r"|: all slots are idle$|^slot +\w+: )"
)
KNOWN = re.compile(
    r"^((llama|llm_load|ggml|clip|common|gguf|mtmd)_\w+: |load_(tensors|backend): "
    r"|print_info: |sched_reserve: |graph_reserve: |alloc_tensor_range: |srv +\w+"
    r"|slot +\w+|cmn +\w+|main: |build(:| =) \d+ \(|couldn't bind|device_info:"
    r"|system_info: n_threads|(CUDA|ROCm|MUSA|SYCL) error|GGML_ASSERT"
    r"|\S+\.(cu|cpp|c|m): ?\d+: |error: (invalid|unknown) argument"
    r"|error while handling|\{\"[^{}]{0,400}\"msg\":\"|Native API failed"
    r"|error: Insufficient Memory|current device: \d)"
)

# docker compose, systemd, bash, zsh
EXITED = re.compile(r"^\S{1,64} exited with code (\d{1,10})(?: \(\w+\))?$")
MAIN_EXITED = re.compile(
    r"Main process exited, code=(exited|killed|dumped), status=(\d{1,3})"
)
SHELL_SIGNAL = re.compile(
    r"^(?:\S{1,200}: line \d+: +\d+ |zsh: |\[\d+\] +\d+ )?"
    r"(illegal (?:hardware )?instruction|segmentation fault|bus error|aborted|abort"
    r"|killed|floating point exception)(?: +\(core dumped\)| {2,}\S| *$)",
    re.IGNORECASE,
)
SHELL_SIGNALS = {
    "ill": signal.SIGILL,
    "seg": signal.SIGSEGV,
    "bus": signal.SIGBUS,
    "abo": signal.SIGABRT,
    "kil": signal.SIGKILL,
    "flo": signal.SIGFPE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line without decorations, and the process that said it, where that is told."""

    text: str
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paste:
    """The last launch of a text.

    Attributes:
        lines: of the last launch.
        earlier: the lines of the launch before, empty where there is none.
        launches: how many there are.
        is_known: whether there is a line of llama.cpp's at all.
        exit_code: that the text itself tells of the last.
        ending: the line that tells it.
    """

    lines: tuple[str, ...]
    earlier: tuple[str, ...] = ()
    launches: int = 1
    is_known: bool = True
    exit_code: int | None = None
    ending: str | None = None


def read_paste(data: bytes) -> Paste:
    """The last launch in whatever bytes; nothing raises."""
    lines = list(_lines(decoded(data)))
    found = list(_launches(lines))
    earlier = tuple(line.text for line in found[-2]) if found[1:] else ()
    last = tuple(line.text for line in found[-1]) if found else ()
    exit_code, ending = _ending(last)
    return Paste(
        lines=last,
        earlier=earlier,
        launches=len(found),
        is_known=any(_is_known(line.text) for line in lines),
        exit_code=exit_code,
        ending=ending,
    )


def decoded(data: bytes) -> str:
    """Text of bytes: UTF-8, or what PowerShell's ``>`` makes of it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    start = data[:400]
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[offset::2].count(0)
        if len(start) > 1 and zeros > len(start) // 3:
            return data.decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _lines(text: str) -> Iterator[Line]:
    for raw in re.split(r"\r?\n|\r", text):
        line = raw[:RAW_LENGTH]
        if line.startswith('{"log":"'):
            line = _docker(line)
        line = CONTROL.sub("", COLOUR.sub("", line))
        if line and not line.isspace() and not FENCE.match(line):
            yield _undecorated(line)


def _docker(line: str) -> str:
    """A line of docker's own log files."""
    try:
        return str(json.loads(line)["log"]).rstrip("\n")
    except (ValueError, KeyError, TypeError):
        return line


def _undecorated(line: str) -> Line:
    source = None
    for _ in range(MOST_DECORATIONS):
        match = next((m for p in DECORATIONS if (m := p.match(line))), None)
        if match is None:
            break
        if match.re.groups and not match[1].startswith(SERVICES):
            source = match[1] if "[" in match[1] or match[1].isdigit() else source
        line = line[match.end() :]
    return Line(text=line.rstrip(), source=source)


def _is_known(text: str) -> bool:
    return KNOWN.search(phrases.message(text)) is not None


def _launches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines of each launch: a new one where its process or its clock is new."""
    launch: list[Line] = []
    state = _State()
    for line in lines:
        if state.is_of_another(line):
            continue
        if state.starts(line) and launch:
            yield launch
            launch = []
        launch.append(line)
    if launch:
        yield launch


class _State:
    """Where in a launch a text is."""

    def __init__(self) -> None:
        self._sources: list[str] = []
        self._has_body = False
        self._clock_s = 0.0

    def is_of_another(self, line: Line) -> bool:
        """Whether a process says it that started before the last that did."""
        return line.source in self._sources[:-1]

    def starts(self, line: Line) -> bool:
        """Whether this line is the first of a launch."""
        said = phrases.message(line.text)
        is_new = self._is_new_source(line) or self._is_fresh(line.text)
        is_new = is_new or (self._has_body and HEAD.search(said) is not None)
        if is_new:
            self._has_body = False
        self._has_body = self._has_body or BODY.search(said) is not None
        return is_new

    def _is_new_source(self, line: Line) -> bool:
        if line.source is None or line.source in self._sources:
            return False
        if not _is_known(line.text):
            return False
        self._sources.append(line.source)
        return len(self._sources) > 1

    def _is_fresh(self, text: str) -> bool:
        """Whether the engine's own clock was set back."""
        match = CLOCK.match(text)
        if match is None:
            return False
        now_s = int(match[1]) * 60 + int(match[2]) + int(match[3]) / 1000
        before_s, self._clock_s = self._clock_s, now_s
        return self._has_body and now_s < FRESH_S and now_s < before_s - FRESH_S


def _ending(lines: tuple[str, ...]) -> tuple[int | None, str | None]:
    """The exit code that the text tells, and where."""
    found: tuple[int | None, str | None] = (None, None)
    for line in lines:
        code = _exit_code(line)
        if code is not None and not phrases.OOM_KILLER.search(found[1] or ""):
            found = (code, line.strip())
    return found


def _exit_code(line: str) -> int | None:
    if _is_known(line):
        return None
    if phrases.OOM_KILLER.search(line):
        return -signal.SIGKILL
    if match := EXITED.search(line):
        return int(match[1])
    if match := MAIN_EXITED.search(line):
        return int(match[2]) * (1 if match[1] == "exited" else -1)
    if match := SHELL_SIGNAL.match(line):
        return -SHELL_SIGNALS[match[1].lower()[:3]]
    return None
