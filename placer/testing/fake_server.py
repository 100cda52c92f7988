"""A launch of a fake engine: what becomes of a model that it is told to load.

It reads a true header, needs memory by placer's formula, logs in the engine's words
(b10434), and serves on the loopback port it was given until SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from placer.errors import InputError
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement import placement_from_args
from placer.testing.fake_args import UsageError, parse_args
from placer.testing.fake_engine import (
    BUILD,
    COMMIT,
    FakeConfig,
    Fault,
    Launch,
    die,
    record_launch,
)
from placer.testing.fake_graph import FakeGraph
from placer.testing.fake_http import HttpServer, Reply, Request
from placer.testing.fake_load import Loader
from placer.testing.fake_log import Log
from placer.testing.fake_memory import Load, Memory, OutOfMemoryError
from placer.testing.fake_slots import Slots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

GARBAGE = b"\x00\xff\xfe\x80 buffer size = 9.9.9 MiB\xc3(\r\n" + b"=" * 50_000 + b"\n"


def serve(config_path: Path, config: FakeConfig, args: Sequence[str]) -> int:
    """One launch, from its first line to its last; the exit code."""
    try:
        return _Server(config_path, config, args).run()
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 1


class _Server:
    """One launch."""

    def __init__(
        self, config_path: Path, config: FakeConfig, args: Sequence[str]
    ) -> None:
        self._asked = parse_args(args)
        self._config = config
        is_dry_run = self._asked.fits
        launch = Launch(pid=os.getpid(), args=tuple(args), dry_run=is_dry_run)
        number = record_launch(config_path, launch)
        self._fault = None if is_dry_run else config.fault_in(number)
        self._log = Log(self._asked.level)
        self._memory = Memory(config)
        self._slots: Slots | None = None

    def run(self) -> int:
        """Load, then serve until SIGTERM."""
        self._mind_signals()
        if self._fault is Fault.SIGILL_AT_START:
            die(signal.SIGILL)
        if not self._bind():
            return 1
        path = self._asked.values.get("-m", "")
        self._log.say(
            f"I cmn  common_param: common_params_print_info: build {BUILD} ({COMMIT}) "
            "with GNU 11.4.0 for Linux x86_64",
            f"I srv    load_model: loading model '{path}'",
        )
        try:
            self._load_and_serve(self._read_model(Path(path)))
        except InputError as error:
            self._log.say(f"E llama_model_load: error loading model: {error}")
        except OutOfMemoryError:
            pass
        else:
            return 0
        self._log.say(
            f"E srv    load_model: failed to load model, '{path}'",
            "E srv  llama_server: exiting due to model loading error",
        )
        return 1

    def _mind_signals(self) -> None:
        if self._fault is Fault.DEAF:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            subprocess.Popen(["sleep", "60"])
        else:
            signal.signal(signal.SIGTERM, _leave)

    def _bind(self) -> bool:
        host = self._asked.values.get("--host", "127.0.0.1")
        port = self._asked.whole("--port", 8080)
        is_free = self._fault is not Fault.PORT_TAKEN
        with suppress(OSError):
            if is_free:
                HttpServer(host, port).start(self._answer)
                return True
        self._log.say(
            "E srv         start: couldn't bind HTTP server socket, hostname: "
            f"{host}, port: {port}",
            "E srv  llama_server: exiting due to HTTP server error",
        )
        return False

    def _answer(self, request: Request, reply: Reply) -> None:
        slots = self._slots
        if slots is None:
            reply.error(503, "Loading model", "unavailable_error")
        elif request.path == "/health":
            reply.json(200, {"status": "ok"})
        elif request.path == "/props":
            reply.json(200, slots.props(has_projector=self._asked.has_projector))
        elif request.path == "/completion":
            slots.complete(request.body, reply)
        else:
            reply.error(404, "File Not Found", "not_found_error")

    def _read_model(self, path: Path) -> Load:
        shape = model_shape(read_gguf(path))
        machine = self._memory.machine
        try:
            return Load(
                shape=shape,
                workload=self._asked.workload(shape.context_length),
                placement=placement_from_args(
                    self._asked.placement_args, shape, machine
                ),
            )
        except InputError as error:
            raise UsageError(f"error while handling argument: {error}") from None

    def _load_and_serve(self, load: Load) -> None:
        loader = Loader(
            load=load, memory=self._memory, config=self._config, log=self._log
        )
        if self._asked.fits:
            loader.measure()
        if self._fault is Fault.GARBAGE:
            sys.stdout.buffer.write(GARBAGE)
        if self._fault is Fault.CUT_OFF:
            os._exit(1)
        loader.weights()
        if self._fault is Fault.HANG_AT_LOAD:
            _wait_for_ever()
        if self._fault is Fault.EXIT_EARLY:
            return
        loader.context()
        needs = loader.compute()
        self._serve(load)
        try:
            _wait_for_ever()
        except SystemExit:
            self._log.say("I srv    operator(): operator(): cleaning up before exit...")
            free = self._memory.free_bytes
            self._log.say_table(self._memory.machine, needs, free)

    def _serve(self, load: Load) -> None:
        graph = FakeGraph(self._config, self._memory, self._log, self._fault)
        slots = Slots(load.shape, load.workload, graph, self._log)
        slots.factor = self._asked.factor(self._config.pace)
        unified = str(load.workload.kv_unified).lower()
        self._log.say(
            f"I srv    load_model: initializing, n_slots = {load.workload.parallel}, "
            f"n_ctx_slot = {slots.n_ctx_slot}, kv_unified = '{unified}'",
            "I srv  llama_server: model loaded",
            "I srv  llama_server: listening on http://127.0.0.1:"
            f"{self._asked.whole('--port', 8080)}",
            "I srv  update_slots: all slots are idle",
        )
        self._slots = slots


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise SystemExit(0)


def _wait_for_ever() -> NoReturn:
    threading.Event().wait()
    raise AssertionError("nobody sets it")
