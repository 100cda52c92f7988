"""Logs as users paste them, old builds and other backends: verdict, device, bytes.

Each is put together from the format strings of its build and from reports of users,
with invented models and sizes; the name says backend, build and what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.app.judged import judge
from placer.engine.judge import Cause, Outcome
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent / "pasted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A log and what it shows."""

    name: str
    outcome: Outcome
    cause: Cause | None = None
    device: str | None = None
    asked_mib: float | None = None
    free_mib: float | None = None


CASES = (
    Case(
        name="b10434-no-instruction",
        outcome=Outcome.CRASHED,
        cause=Cause.ILLEGAL_INSTRUCTION,
    ),
    Case(
        name="b10441-router",
        outcome=Outcome.OOM_WEIGHTS,
        device="CUDA0",
        asked_mib=9000.0,
        free_mib=5600.0,
    ),
    Case(name="b3000-unknown-argument", outcome=Outcome.REFUSED, cause=Cause.FLAG),
    Case(name="b3500-port-taken", outcome=Outcome.REFUSED, cause=Cause.PORT),
    Case(name="b5000-file-missing", outcome=Outcome.REFUSED, cause=Cause.MODEL),
    Case(name="b9000-compose-restarted", outcome=Outcome.OK),
    Case(
        name="b9000-journal-oom-killer", outcome=Outcome.HOST_MEMORY, cause=Cause.KILLED
    ),
    Case(
        name="b9000-systemd-segv",
        outcome=Outcome.CRASHED,
        cause=Cause.SEGMENTATION_FAULT,
    ),
    Case(name="cpu-b3184-context", outcome=Outcome.HOST_MEMORY, asked_mib=131072.0),
    Case(name="cpu-b6000-thrown", outcome=Outcome.HOST_MEMORY),
    Case(name="cpu-b7000-mmap", outcome=Outcome.HOST_MEMORY),
    Case(name="cuda-b11434-context-full", outcome=Outcome.OK, cause=Cause.CONTEXT_FULL),
    Case(
        name="cuda-b11434-draft",
        outcome=Outcome.OOM_WEIGHTS,
        device="CUDA1",
        asked_mib=900.5,
        free_mib=610.0,
    ),
    Case(
        name="cuda-b11434-pool-in-use",
        outcome=Outcome.OOM_IN_USE,
        device="CUDA0",
        asked_mib=512.0,
        free_mib=367.0,
    ),
    Case(name="cuda-b11434-prompt-of-oom", outcome=Outcome.OK),
    Case(name="cuda-b1620-weights", outcome=Outcome.OOM_WEIGHTS, device="CUDA0"),
    Case(
        name="cuda-b2750-context",
        outcome=Outcome.OOM_CONTEXT,
        device="CUDA0",
        asked_mib=8192.0,
    ),
    Case(name="cuda-b4100-context-full", outcome=Outcome.OK, cause=Cause.CONTEXT_FULL),
    Case(
        name="cuda-b5177-weights",
        outcome=Outcome.OOM_WEIGHTS,
        device="CUDA0",
        asked_mib=39979.48,
        free_mib=23872.0,
    ),
    Case(
        name="cuda-b6500-device-lost", outcome=Outcome.CRASHED, cause=Cause.DEVICE_LOST
    ),
    Case(name="cuda-b6500-no-kernel", outcome=Outcome.CRASHED, cause=Cause.NO_KERNEL),
    Case(name="cuda-b6500-stops-loading", outcome=Outcome.UNKNOWN),
    Case(name="cuda-b6500-tail-only", outcome=Outcome.CRASHED),
    Case(name="cuda-b7200-fit-then-served", outcome=Outcome.OK),
    Case(name="cuda-b8000-no-driver", outcome=Outcome.OK, cause=Cause.NO_GPU),
    Case(
        name="cuda-b9100-projector",
        outcome=Outcome.OOM_WEIGHTS,
        device="CUDA0",
        asked_mib=1139.46,
        free_mib=1000.0,
    ),
    Case(
        name="metal-b11434-weights",
        outcome=Outcome.OOM_WEIGHTS,
        device="MTL0",
        asked_mib=13000.0,
        free_mib=12124.0,
    ),
    Case(
        name="metal-b3720-context",
        outcome=Outcome.OOM_CONTEXT,
        device="Metal",
        asked_mib=16384.0,
    ),
    Case(name="metal-b3900-in-use", outcome=Outcome.OOM_IN_USE),
    Case(
        name="metal-b8000-warm-up",
        outcome=Outcome.OOM_IN_USE,
        device="Metal",
        free_mib=901.0,
    ),
    Case(name="musa-b6000-pool-in-use", outcome=Outcome.OOM_IN_USE, device="MUSA0"),
    Case(
        name="rocm-b11434-graph-in-use",
        outcome=Outcome.OOM_IN_USE,
        device="ROCm0",
        asked_mib=508.25,
    ),
    Case(
        name="rocm-b2700-compute",
        outcome=Outcome.OOM_COMPUTE,
        device="ROCm0",
        asked_mib=826.0,
    ),
    Case(
        name="rocm-b3265-weights",
        outcome=Outcome.OOM_WEIGHTS,
        device="ROCm1",
        asked_mib=27846.97,
    ),
    Case(
        name="rocm-b6800-compute",
        outcome=Outcome.OOM_COMPUTE,
        device="ROCm0",
        asked_mib=14136.04,
    ),
    Case(
        name="rpc-b11434-not-reached", outcome=Outcome.CRASHED, cause=Cause.RPC_SERVER
    ),
    Case(
        name="sycl-b11434-context",
        outcome=Outcome.OOM_CONTEXT,
        device="SYCL1",
        asked_mib=2048.0,
        free_mib=1881.0,
    ),
    Case(name="sycl-b3000-in-use", outcome=Outcome.CRASHED, cause=Cause.ABORTED),
    Case(
        name="sycl-b4404-in-use",
        outcome=Outcome.OOM_IN_USE,
        device="SYCL0",
        asked_mib=541.8,
        free_mib=5920.0,
    ),
    Case(
        name="sycl-b4700-device-lost", outcome=Outcome.CRASHED, cause=Cause.DEVICE_LOST
    ),
    Case(
        name="sycl-b9694-weights",
        outcome=Outcome.OOM_WEIGHTS,
        device="SYCL0",
        asked_mib=16384.0,
        free_mib=15707.0,
    ),
    Case(
        name="vulkan-b11434-device-lost",
        outcome=Outcome.CRASHED,
        cause=Cause.DEVICE_LOST,
    ),
    Case(
        name="vulkan-b2300-weights",
        outcome=Outcome.OOM_WEIGHTS,
        device="Vulkan0",
        asked_mib=4096.0,
    ),
    Case(
        name="vulkan-b5061-buffer-limit",
        outcome=Outcome.OOM_COMPUTE,
        cause=Cause.BUFFER_LIMIT,
        device="Vulkan0",
        asked_mib=3776.0,
        free_mib=7620.0,
    ),
    Case(
        name="vulkan-b8900-device-lost",
        outcome=Outcome.CRASHED,
        cause=Cause.DEVICE_LOST,
    ),
    Case(
        name="vulkan-b8900-thrown-in-use", outcome=Outcome.OOM_IN_USE, asked_mib=512.0
    ),
)


def in_mib(n_bytes: int | None) -> float | None:
    """A size as the table has it."""
    return None if n_bytes is None else round(n_bytes / MIB, 2)


def judged(path: Path) -> Case:
    """What a file is judged to show."""
    verdict = judge(path).verdict
    return Case(
        name=path.stem,
        outcome=verdict.outcome,
        cause=verdict.cause,
        device=verdict.device,
        asked_mib=in_mib(verdict.asked_bytes),
        free_mib=in_mib(verdict.free_bytes),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_paste_has_its_verdict(case: Case) -> None:
    """Outcome, cause, device, asked and free are those that the log shows."""
    assert judged(HERE / f"{case.name}.log") == case


def test_every_paste_is_judged() -> None:
    """No log lies here without a row."""
    names = {path.stem for path in HERE.glob("*.log")}
    assert names == {case.name for case in CASES}


def coloured(line: str) -> str:
    """As a terminal shows it."""
    return f"\x1b[31m{line}\x1b[0m"


# What becomes of a line, a whole line, on its way into a forum.
WRAPPERS: dict[str, Callable[[str], str]] = {
    "colours": coloured,
    "compose": "llama-1  | {}".format,
    "compose, coloured": lambda line: f"\x1b[36mllama-1  | \x1b[0m{line}",
    "journal": "Nov 28 12:00:00 box llama-server[123]: {}".format,
    "journal, ISO": "2026-11-28T12:00:00+0000 box llama-server[123]: {}".format,
    "docker logs -t": "2026-11-28T12:00:00.123456789Z {}".format,
    "kubernetes": "2026-11-28T12:00:00.123456789Z stderr F {}".format,
    "log timestamps": "[1724830909] {}".format,
    "router": "[50443] {}".format,
    "quoted": "> {}".format,
    "quoted twice": "> > {}".format,
    "Windows": "{}\r".format,
    "trailing rubbish": lambda line: f"{line}\x00\x07",
}
PLAIN = [
    case
    for case in CASES
    # Those are wrapped already, and a process of its own ends some of them.
    if not case.name.startswith(("b9000", "b10441"))
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_is_put_around_a_log_changes_nothing(wrapper: str, tmp_path: Path) -> None:
    """Prefixes of containers and journals, colours, quotes, line ends."""
    for case in PLAIN:
        lines = (HERE / f"{case.name}.log").read_text().splitlines()
        path = tmp_path / f"{case.name}.log"
        path.write_text(
            "\n".join(WRAPPERS[wrapper](line) for line in lines), newline=""
        )
        assert judged(path) == case


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_what_powershell_writes_is_read(encoding: str, tmp_path: Path) -> None:
    """UTF-16 with and without its mark, and UTF-8 with one."""
    for case in PLAIN:
        text = (HERE / f"{case.name}.log").read_text()
        path = tmp_path / f"{case.name}.log"
        path.write_bytes(text.encode(encoding))
        assert judged(path) == case


def test_a_fence_and_words_around_a_log_change_nothing(tmp_path: Path) -> None:
    """A question of a forum with its log in the middle."""
    for case in PLAIN:
        text = (HERE / f"{case.name}.log").read_text()
        path = tmp_path / f"{case.name}.log"
        path.write_text(
            f"Hi, it says out of memory, why?\n\n```console\n{text}```\nThanks!\n"
        )
        assert judged(path) == case


@pytest.mark.parametrize(
    "name",
    ["cuda-b5177-weights", "vulkan-b11434-device-lost", "b3000-unknown-argument"],
)
def test_what_an_earlier_launch_showed_is_not_judged(name: str, tmp_path: Path) -> None:
    """The last launch is judged, the one before it is told."""
    good = (HERE / "cuda-b7200-fit-then-served.log").read_text()
    bad = (HERE / f"{name}.log").read_text()
    path = tmp_path / "two.log"
    path.write_text(bad + good)
    found = judge(path)
    assert found.verdict.outcome is Outcome.OK
    assert "2 launches" in found.notes[0]
    assert judge(HERE / f"{name}.log").verdict.outcome.value in found.notes[0]


def test_a_clock_that_is_set_back_is_another_launch(tmp_path: Path) -> None:
    """New builds tell no build at the default level, but their clock starts anew."""
    bad = (HERE / "rocm-b11434-graph-in-use.log").read_text()
    good = "0.00.310.114 I srv  load_model: loading model 'oak.gguf'\n"
    good += "0.03.298.318 I srv  llama_server: listening on http://127.0.0.1:8080\n"
    path = tmp_path / "two.log"
    path.write_text(bad + good)
    assert judge(path).verdict.outcome is Outcome.OK


def test_evidence_names_what_found_no_room_beside_the_model() -> None:
    """A draft model or a projector: its own line stands in the evidence."""
    for name, word in (
        ("cuda-b11434-draft", "draft model"),
        ("cuda-b9100-projector", "vision encoder"),
    ):
        evidence = judge(HERE / f"{name}.log").verdict.evidence
        assert any(word in line for line in evidence)
