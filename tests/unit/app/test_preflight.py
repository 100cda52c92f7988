"""Whether what is free holds a server, and what to close."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.app.desk import Desk, open_desk
from placer.app.preflight import HOST, Need, NoRoomError, Preflight, preflight
from placer.app.where import Request, Where
from placer.machine.device import GPUProcess, NvmlFacts
from placer.serve import Running, ServedDevice, StateFolder
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

CONF = """\
[moe]
MODEL=moe.gguf
CTX_SIZE=512
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 -ts 1,1

[fitted]
MODEL=moe.gguf

[rows]
MODEL=moe.gguf
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-ot blk\\.1\\.=CUDA7
"""


@pytest.fixture
def where(tmp_path: Path, moe_path: Path) -> Where:
    """Two devices, of which the second is nearly full."""
    conf = tmp_path / "models.conf"
    conf.write_text(CONF)
    devices = "CUDA0:24000:23000,CUDA1:16000:20"
    return Where(devices=devices, conf=conf, models=moe_path.parent)


@pytest.fixture
def desk(where: Where) -> Iterator[Desk]:
    """The profile on them."""
    with open_desk("moe", where, Request()) as desk:
        yield desk


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """Where servers are on record."""
    return StateFolder(tmp_path / "state")


def test_what_is_short_is_told_by_device(desk: Desk, state: StateFolder) -> None:
    """Needed, free, missing; nothing of a device that has room."""
    found = preflight(desk, state)
    (short,) = found.short
    assert short.device == "CUDA1"
    assert short.needs_bytes - short.free_bytes == short.short_bytes > 0
    assert short.free_bytes == 20 * MIB
    assert found.planned_bytes("CUDA1") == short.needs_bytes
    assert 0 < (found.planned_bytes("CUDA0") or 0) < 23000 * MIB
    assert found.planned_bytes("CUDA7") is None


def test_the_host_counts_too(desk: Desk, state: StateFolder) -> None:
    """Weights that stay on the CPU need memory that is available."""
    roomy = replace(desk, machine=replace(desk.machine, host_free_bytes=GIB))
    tight = replace(desk, machine=replace(desk.machine, host_free_bytes=0))
    assert HOST not in {need.device for need in preflight(roomy, state).short}
    assert HOST in {need.device for need in preflight(tight, state).short}


def test_what_to_close_is_named(desk: Desk, state: StateFolder) -> None:
    """Servers of placer's own with the verb that ends them, others by process."""
    state.keep(own_server("glm-q4"))
    state.keep(replace(own_server("dead"), pid_created=5.0))
    state.keep(replace(own_server("not-real"), emulated=True))
    card = desk.machine.devices[1]
    used = GPUProcess(pid=1, name="Xorg", used_bytes=300 * MIB)
    facts = NvmlFacts(
        pci_bus_id="",
        driver="",
        link_generation=None,
        link_width=None,
        memory_clock_mhz=None,
        memory_bus_bits=None,
        processes=(replace(used, pid=os.getpid(), name="llama-server"), used),
    )
    devices = (desk.machine.devices[0], replace(card, nvml=facts))
    desk = replace(desk, machine=replace(desk.machine, devices=devices))
    (short,) = preflight(desk, state).short
    assert short.closable == (
        "glm-q4 (placer stop glm-q4)",
        "Xorg (process 1, 300 MiB)",
    )
    assert str(short).endswith(
        "close glm-q4 (placer stop glm-q4), Xorg (process 1, 300 MiB)"
    )


def own_server(profile: str) -> Running:
    """A server that runs, on the second device; this very process stands for it."""
    return Running(
        profile=profile,
        name=profile,
        model="",
        base_url="",
        argv=(),
        log=Path("log"),
        started="",
        engine="",
        devices=(
            ServedDevice(
                name="CUDA1",
                description="",
                total_bytes=1,
                free_bytes=1,
                planned_bytes=None,
            ),
        ),
        pid=os.getpid(),
        pid_created=psutil.Process().create_time(),
    )


@pytest.mark.parametrize(
    ("profile", "word"), [("fitted", "by itself"), ("rows", "was not checked")]
)
def test_what_cannot_be_told_is_no_refusal(
    where: Where, state: StateFolder, profile: str, word: str
) -> None:
    """It is a note; the engine says the rest."""
    with open_desk(profile, where, Request()) as desk:
        found = preflight(desk, state)
    assert not found.short
    assert word in found.notes[0]


def test_a_refusal_is_one_line_and_says_what_to_do() -> None:
    """What is short, and both ways on; exit code 4."""
    need = Need(device="CUDA0", needs_bytes=30 * GIB, free_bytes=20 * GIB)
    error = NoRoomError("glm", Preflight(needs=(need,)))
    assert error.exit_code == 4
    assert "CUDA0 needs 30.0 GiB, 20.0 GiB free, short by 10.0 GiB" in str(error)
    assert "placer serve glm --refit" in str(error)
