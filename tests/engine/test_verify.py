"""The real engine, verified: the same twice, and what was made worse on purpose.

RPC servers compute fast enough to measure; emulated GPUs run out of memory as real
ones do.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import psutil
import pytest

from placer.app import (
    Request,
    StudyOptions,
    VerifyOptions,
    Where,
    optimize,
    verify,
)
from placer.app.compared import Kind, Tolerance
from placer.app.verified import Status
from placer.engine.environment import engine_library_env
from placer.engine.observation import Proof, Stage
from placer.errors import MachineError
from placer.search.events import Progress, TrialDone
from placer.testing import RpcDevices, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.app import Verification
    from placer.search.events import Event

pytestmark = pytest.mark.engine

#: Nothing is quantised, so the CPU computes it in a second.
SHAPE = {"n_layer": 6, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4, "n_head": 8}
CONF = """\
[moe]
MODEL=moe.gguf
CTX_SIZE={ctx}
N_GPU_LAYERS=99
EXTRA_ARGS=-b 256 -ub 64 -np 1{more}
"""
#: Sixteen tokens on two cores that others use too now and then take twice as long.
SHARE, LOOSE_SHARE, MEMORY_BYTES = 0.5, 0.9, 4 * MIB
LOOSE = VerifyOptions(tolerance=Tolerance(share=LOOSE_SHARE, memory_bytes=MEMORY_BYTES))
TIGHT = VerifyOptions(tolerance=Tolerance(share=SHARE, memory_bytes=MEMORY_BYTES))
ATTEMPTS = 3
LOADED = VerifyOptions(proof=Proof.LOAD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model and the profile lie."""
    folder = tmp_path_factory.mktemp("verify")
    models.write_qwen3moe(folder / "moe.gguf", **SHAPE)
    return folder


@pytest.fixture(scope="module")
def servers(engine: Path) -> Iterator[RpcDevices]:
    """Two devices."""
    with RpcDevices(engine, [1, 1]) as servers:
        yield servers


@pytest.fixture(scope="module")
def proved(engine: Path, folder: Path, servers: RpcDevices) -> Where:
    """Where the profile was proved on them and written."""
    conf = folder / "models.conf"
    conf.write_text(CONF.format(ctx=1024, more=f" --rpc {servers.endpoints}"))
    where = Where(server=engine, conf=conf, models=folder, logs=folder / "logs")
    for left in reversed(range(ATTEMPTS)):
        try:
            optimize("moe", where, Request())
        except MachineError:
            if not left:
                raise
            time.sleep(1)
        else:
            break
    return where


def verified(
    where: Where,
    options: VerifyOptions = LOOSE,
    on_event: Callable[[Event], None] | None = None,
) -> Verification:
    """The profile, asked again where an RPC server was busy with its last client."""
    for _ in range(ATTEMPTS):
        (found,) = verify(["moe"], where, options, on_event=on_event).profiles
        if "RPC endpoints" not in (found.reason or ""):
            break
        time.sleep(1)
    return found


def with_engine(where: Where, engine: Path) -> Where:
    """The same with another engine."""
    return Where(
        server=engine,
        emulate=where.emulate,
        conf=where.conf,
        models=where.models,
        logs=where.logs,
    )


def changed(engine: Path, folder: Path, *flags: str) -> Path:
    """An engine that launches with these flags in the place of what it is told."""
    library = engine_library_env(engine).get("LD_LIBRARY_PATH", "")
    script = folder / "llama-server"
    script.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={shlex.quote(library)}\n"
        f'case "$*" in *"--fit off"*) set -- "$@" {shlex.join(flags)};; esac\n'
        f'exec {shlex.quote(str(engine))} "$@"\n'
    )
    script.chmod(0o755)
    return script


class Slowed:
    """Once a model is loaded, its devices share one core with ten that only spin."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        self._pids = pids
        self._stack = ExitStack()
        self._is_on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tell(self, event: Event) -> None:
        """Begin when the context is filled, end with the launch."""
        if isinstance(event, TrialDone):
            self._stack.close()
            self._is_on = False
        elif isinstance(event, Progress) and not self._is_on:
            self._is_on = event.progress.stage is Stage.LOADED
            if self._is_on:
                self._begin()

    def _begin(self) -> None:
        everywhere = psutil.Process().cpu_affinity()
        core = everywhere[:1]
        for pid in self._pids:
            for thread in psutil.Process(pid).threads():
                self._stack.callback(psutil.Process(thread.id).cpu_affinity, everywhere)
                psutil.Process(thread.id).cpu_affinity(core)
        spin = f"import os; os.sched_setaffinity(0, {set(core)})\nwhile True: pass"
        for _ in range(10):
            # A session of its own: the kernel may share time by sessions.
            child = subprocess.Popen(
                [sys.executable, "-c", spin], start_new_session=True
            )
            self._stack.callback(child.wait)
            self._stack.callback(child.kill)


def engines() -> list[int]:
    """The llama-servers that this process has started and that still run."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.name() == "llama-server"]


def test_the_same_engine_says_the_same_twice(proved: Where) -> None:
    """Memory to the byte, splits, and speed within what it spreads."""
    for _ in range(2):
        found = verified(proved)
        assert found.status is Status.SAME
        memory = [f for f in found.figures if f.name == "memory_bytes"]
        assert all(f.recorded == f.now for f in memory)
        assert all(f.kind is Kind.SAME for f in found.figures)
    assert engines() == []


def test_an_engine_that_takes_more_memory_is_told(
    proved: Where, engine: Path, tmp_path: Path
) -> None:
    """A cache of twice the context, whoever asked for it."""
    found = verified(with_engine(proved, changed(engine, tmp_path, "-c", "4096")))
    assert found.status is Status.WORSE
    worse = [f for f in found.figures if f.kind is Kind.WORSE]
    assert "memory_bytes" in {f.name for f in worse}


def test_an_engine_that_is_slower_is_told(proved: Where, servers: RpcDevices) -> None:
    """It holds what it held, and takes several times as long."""
    with Slowed(servers.pids) as slowed:
        found = verified(proved, TIGHT, slowed.tell)
    assert found.status is Status.WORSE
    kinds = {f.name: f.kind for f in found.figures}
    assert kinds["decode_tokens_per_s"] is Kind.WORSE
    assert kinds["memory_bytes"] is Kind.SAME


def test_an_engine_that_does_not_take_a_flag_is_told(
    proved: Where, engine: Path, tmp_path: Path
) -> None:
    """In its own words."""
    found = verified(with_engine(proved, changed(engine, tmp_path, "--gone")))
    assert found.status is Status.FAILED
    assert found.verdict is not None
    assert "--gone" in found.verdict.evidence[0]


def test_what_fits_no_more_is_told_with_the_device(
    engine: Path, folder: Path, tmp_path: Path
) -> None:
    """On emulated GPUs: memory is theirs to refuse, and their speed is not judged."""
    conf = tmp_path / "models.conf"
    conf.write_text(CONF.format(ctx=512, more=""))
    where = Where(
        server=engine, emulate=(60, 60), conf=conf, models=folder, logs=tmp_path / "l"
    )
    optimize("moe", where, Request(), StudyOptions(proof=Proof.LOAD))
    same = verified(where, LOADED)
    assert same.status is Status.SAME
    memory = [f for f in same.figures if f.name == "memory_bytes"]
    assert {f.source for f in memory} == {"peak"}
    assert all((f.now or 0) > 20 * MIB for f in memory)

    worse = with_engine(where, changed(engine, tmp_path, "-c", "16384"))
    found = verified(worse, LOADED)
    assert found.status is Status.DOES_NOT_FIT
    assert found.verdict is not None
    assert found.verdict.device in ("Vulkan0", "Vulkan1")
    assert engines() == []
