"""Several models at once: the router with placer's file, and servers side by side."""

from __future__ import annotations

import shlex
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from placer.app import Where
from placer.app.presets import Presets, presets, write_presets
from placer.app.together import together
from placer.engine.binary import Engine
from placer.engine.client import ServerClient
from placer.engine.process import LocalRunner, free_port
from placer.testing import EmulatedMachine, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

WITHIN_S = 120.0
#: Nothing on the GPUs but weights: the CPU computes, and no shader is compiled.
CONF = r"""
[first]
MODEL=first.gguf
CTX_SIZE=256
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 64 -ub 32 -np 1 --no-warmup -ot blk\.[01]\.ffn_(up|down)\.weight=CPU,x=CPU

[second]
MODEL=second.gguf
CTX_SIZE=256
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 64 -ub 32 -np 1 --no-warmup --alias other --temp 0 --seed -1
"""
SHAPE = {"n_layer": 3, "n_vocab": 4096}
#: They take 4.7 and 5.5 MiB.
TIGHT_MIB, ROOMY_MIB = 8, 40


class Router:
    """A running router."""

    def __init__(self, base_url: str, machine: EmulatedMachine) -> None:
        # The server lets go of a connection when it likes: each is used once.
        self._http = httpx.Client(
            base_url=base_url,
            timeout=WITHIN_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._machine = machine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_healthy(self) -> bool:
        try:
            return self._http.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def models(self) -> dict[str, dict[str, Any]]:
        data = self._http.get("/models").json()["data"]
        return {one["id"]: one["status"] for one in data}

    def loaded(self) -> set[str]:
        return {name for name, s in self.models().items() if s["value"] == "loaded"}

    def ask(self, model: str) -> str:
        messages = [{"role": "user", "content": "a"}]
        body = {"model": model, "max_tokens": 2, "messages": messages}
        answer = self._http.post("/v1/chat/completions", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["model"])

    def unload(self, model: str) -> None:
        answer = self._http.post("/models/unload", json={"model": model})
        assert answer.status_code == httpx.codes.OK, answer.text

    def used_bytes(self) -> int:
        return sum(self._machine.used_bytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, and a profile of each."""
    folder = tmp_path_factory.mktemp("router")
    models.write_llama(folder / "first.gguf", **SHAPE)
    models.write_llama(folder / "second.gguf", seed=1, **SHAPE)
    (folder / "models.conf").write_text(CONF)
    return folder


def written(folder: Path, engine: Path, mib: int) -> tuple[Presets, Path]:
    """The router's file for a GPU of so many MiB."""
    where = Where(
        server=engine, emulate=(mib,), conf=folder / "models.conf", models=folder
    )
    found = presets((), where)
    path = folder / f"models-{mib}.ini"
    write_presets(found, path)
    return found, path


@contextmanager
def running(folder: Path, engine: Path, mib: int) -> Iterator[tuple[Presets, Router]]:
    """The router on such a GPU, started by the line that placer prints."""
    found, path = written(folder, engine, mib)
    port, log_path = free_port(), folder / f"router-{mib}.log"
    words = shlex.split(found.command(path))[1:]
    listening = ["--host", "127.0.0.1", "--port", str(port)]
    with EmulatedMachine((mib,)) as machine, log_path.open("wb") as log:
        home = Engine(binary=engine, config_home=folder, variables=machine.env)
        child = subprocess.Popen(
            [str(engine), *words, *listening],
            env=home.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with Router(f"http://127.0.0.1:{port}", machine) as router:
                until(router.is_healthy)
                yield found, router
        finally:
            child.terminate()
            child.wait(WITHIN_S)


def until(condition: Any) -> None:
    """Wait for it."""
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_models_are_swapped_where_both_do_not_fit(folder: Path, engine: Path) -> None:
    """The second comes by request and the first has gone; memory never runs out."""
    with running(folder, engine, TIGHT_MIB) as (found, router):
        assert found.models_max == 1
        until(lambda: router.loaded() == {"first"})
        one = router.used_bytes()
        assert 0 < one < TIGHT_MIB * MIB < 2 * one
        for name in ("first", "second"):
            assert router.ask(name) == name
            assert router.loaded() == {name}
        router.unload("second")
        until(lambda: router.loaded() == set())
        assert router.used_bytes() == 0


def test_both_are_resident_where_they_fit(folder: Path, engine: Path) -> None:
    """The engine of each was given what models.conf says, and answers beside the other.

    An alias of the profile names it too.
    """
    with running(folder, engine, ROOMY_MIB) as (found, router):
        assert found.models_max == 2
        until(lambda: router.loaded() == {"first", "second"})
        assert {router.ask("first"), router.ask("other")} == {"first", "second"}
        args = {name: shlex.join(s["args"]) for name, s in router.models().items()}
        overrides = r"blk\.[01]\.ffn_(up|down)\.weight=CPU,x=CPU"
        assert f"--override-tensor '{overrides}'" in args["first"]
        assert "--no-warmup" in args["second"]
        assert "--seed -1" in args["second"]
        for said in ("--ctx-size 256", "--fit off", "--n-gpu-layers 99"):
            assert said in args["first"]
            assert said in args["second"]


def test_profiles_placed_anew_load_side_by_side(
    moe_path: Path, dense_path: Path, engine: Path, tmp_path: Path
) -> None:
    """As models.conf has them they do not fit; both engines hold what was foreseen."""
    conf = tmp_path / "models.conf"
    conf.write_text(
        "".join(
            f"[{path.stem}]\nMODEL={path}\nCTX_SIZE=256\nN_GPU_LAYERS=99\n"
            f"EXTRA_ARGS=-b 64 -ub 64 -np 1 --no-warmup -sm none -mg 0\n"
            for path in (moe_path, dense_path)
        )
    )
    capacities = (45, 35)
    where = Where(server=engine, emulate=capacities, conf=conf, models=tmp_path)
    found = together(["moe", "dense"], where)
    assert found.stated is not None
    assert not found.stated.fits
    assert found.fits
    assert all(member.rated.dry_run for member in found.best.members)

    with EmulatedMachine(capacities) as machine, ExitStack() as stack:
        home = Engine(binary=engine, config_home=tmp_path, variables=machine.env)
        runner = LocalRunner(home)
        for member in found.best.members:
            target = member.desk.target
            given = ("-m", str(target.file.path), *target.workload.args())
            flags = (*given, *target.extra_args, "-fit", "off", *member.rated.args)
            process = runner.start(flags, log_path=tmp_path / f"{member.name}.log")
            stack.callback(process.stop)
            client = ServerClient(process.base_url, read_timeout_s=WITHIN_S)
            until(stack.enter_context(client).is_healthy)
        for used, capacity, left in zip(
            machine.used_bytes(), capacities, found.best.left_bytes, strict=False
        ):
            assert abs(capacity * MIB - used - left) < MIB
