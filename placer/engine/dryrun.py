"""The engine's own dry run: exact figures in half a second, no weight read.

A stock llama-server with ``--fit on`` makes a model and a context without allocating
them and prints the memory table for exactly the given flags; it is stopped before it
loads anything. Where NextN layers draft, there is a second table for their context.
(fit.cpp:29 and :206, llama.cpp build 11434.)
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from placer.engine.follow import LogFollower
from placer.engine.log import BreakdownRow, LogFacts, Phase, read_log
from placer.errors import MachineError
from placer.memory import MemoryBreakdown, MemoryEstimate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess, Runner
    from placer.machine import Machine

MEASURED = "fitting params to free memory took"
# Behind it is what the context of drafts takes, or, in builds before 11434, before it.
DRAFTS_FOLLOW = "device memory data for the extra model"
DRAFTS_BEFORE = "estimated memory usage of MTP context"
TIMEOUT_S = 120.0
STEP_S = 0.01


def dry_run(
    runner: Runner, args: Sequence[str], machine: Machine, *, log_path: Path
) -> MemoryEstimate | None:
    """What the engine says that each device would hold, or None if it will not say.

    Args:
        runner: starts the engine.
        args: the flags of the launch, without ``--fit`` and verbosity.
        machine: the devices, for their order.
        log_path: where the engine's output goes.

    Raises:
        MachineError: the engine lists a device that it does not use by itself, an
            integrated GPU beside others for one; ``-ts`` would mean other devices.
    """
    process = runner.start([*args, "--fit", "on", "-v"], log_path=log_path)
    try:
        lines = _lines_until_measured(process)
    finally:
        process.stop()
    own, drafts = apart(lines)
    facts = read_log(own)
    if "none" not in args:
        require_all(facts, machine)
    said = estimate_of(facts, machine)
    drafting = estimate_of(read_log(drafts), machine)
    if said is None or drafting is None:
        return said
    return replace(
        said,
        drafting=_without_model(drafting),
        projector_bytes=said.projector_bytes or drafting.projector_bytes,
    )


def refusal(log_path: Path) -> str:
    """Why a dry run gave no figures, in the engine's words where it has some."""
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = read_log(lines)
    said = [facts.refused, facts.aborted, *facts.errors]
    return next((line for line in said if line), "it prints no memory table")


def apart(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines about the model, and those about the context of its drafts."""
    for at, line in enumerate(lines):
        if DRAFTS_FOLLOW in line:
            return list(lines[:at]), list(lines[at:])
        if DRAFTS_BEFORE in line:
            return list(lines[at:]), list(lines[:at])
    return list(lines), []


def _without_model(said: MemoryEstimate) -> tuple[MemoryBreakdown, ...]:
    """Devices and host, without the weights, which both contexts share."""
    return tuple(replace(held, model_bytes=0) for held in (*said.devices, said.host))


def require_all(facts: LogFacts, machine: Machine) -> None:
    """Check that the engine uses every device that it lists.

    Raises:
        MachineError: it leaves one out by itself; ``-ts`` would mean other devices.
    """
    listed = [d.name for d in machine.devices]
    used = [row.device for row in facts.breakdown if row.device in listed]
    if used and used != listed:
        raise MachineError(
            f"llama-server uses {', '.join(used)} of {', '.join(listed)} by itself",
            hint=f"name the devices to use, as in --device {','.join(used)}",
        )


def estimate_of(facts: LogFacts, machine: Machine) -> MemoryEstimate | None:
    """The memory table of a log as an estimate, None if the log has no table."""
    rows = {row.device: row for row in facts.breakdown}
    if "Host" not in rows or not any(d.name in rows for d in machine.devices):
        return None
    absent = BreakdownRow(
        device="",
        total_bytes=None,
        free_bytes=None,
        model_bytes=0,
        context_bytes=0,
        compute_bytes=0,
    )
    compute = {b.device: b.n_bytes for b in facts.buffers if b.phase is Phase.COMPUTE}
    devices = tuple(
        _triple(rows.get(d.name, absent), compute.get(d.buffer_type))
        for d in machine.devices
    )
    return MemoryEstimate(
        devices=devices,
        host=_triple(rows["Host"], None),
        source="dry-run",
        graph_splits=facts.graph_splits,
        projector_bytes=facts.projector_bytes,
    )


def _triple(row: BreakdownRow, compute_bytes: int | None) -> MemoryBreakdown:
    """The row, its compute buffer to 0.01 MiB where the log says it apart.

    The table cuts every figure down to whole MiB.
    """
    exact = row.compute_bytes if compute_bytes is None else compute_bytes
    return MemoryBreakdown(
        model_bytes=row.model_bytes,
        context_bytes=row.context_bytes,
        compute_bytes=exact,
    )


def _lines_until_measured(process: EngineProcess) -> list[str]:
    follower = LogFollower(process.log_path)
    deadline_s = time.monotonic() + TIMEOUT_S
    lines: list[str] = []
    while time.monotonic() < deadline_s:
        ended = process.exit_code() is not None
        new = follower.new_lines()
        lines += new
        if ended or any(MEASURED in line for line in new):
            break
        time.sleep(STEP_S)
    return lines
