"""Devices whose speed nobody knows: the search finds out, and takes the fastest."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress
from itertools import product
from statistics import mean, stdev
from typing import TYPE_CHECKING, Self

import pytest

from placer import app
from placer.app.desk import open_desk
from placer.engine.judge import Outcome, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Proof
from placer.placement import Placement
from placer.search.search import launch_args
from placer.testing import RpcDevices, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.app.desk import Desk

pytestmark = pytest.mark.engine

SHAPE = {"n_layer": 2, "n_embd": 256, "n_ff": 1024, "n_vocab": 2048}
REQUEST = app.Request(values={"ctx": 256, "batch": 64, "ubatch": 64, "parallel": 1})
# A graph is larger, a greeting is not.
SMALL_BYTES, DELAY_S = 512, 0.004
# Student's t for 95 % of so many differences, one less.
AGAIN, T_95 = 3, 4.303


class Slow:
    """A way to a server on which whatever is of any size takes its time.

    Args:
        endpoint: of the server.
    """

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.partition(":")
        self._there = (host, int(port))
        self._here = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def endpoint(self) -> str:
        """Where it is reached instead."""
        host, port = self._here.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._here.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._here.accept()
                threading.Thread(target=self._serve, args=(client,)).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._there) as server:
            back = threading.Thread(target=_relay, args=(server, client, 0.0))
            back.start()
            _relay(client, server, DELAY_S)
            back.join()


def _relay(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(MIB):
            if len(data) > SMALL_BYTES:
                time.sleep(delay_s)
            target.sendall(data)
    # What the other side still has to say may come: a server dies of a broken pipe.
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be closed in the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def endpoints(bundled: Path) -> Iterator[list[str]]:
    """Two servers."""
    with RpcDevices(bundled, [1, 1]) as servers:
        yield servers.endpoints.split(",")


def measured(desk: Desk, folder: Path) -> Callable[[Placement], float]:
    """Decodes a split as a search does, and says how fast it was."""

    def tokens_per_s(placement: Placement) -> float:
        target, machine = desk.target, desk.machine
        assert desk.runner is not None
        test = LoadTest(
            runner=desk.runner,
            machine=machine,
            shape=target.shape,
            workload=target.workload,
        )
        path, work = str(target.file.path), target.workload
        args = launch_args(path, work, (), placement, target.shape, machine)
        log = folder / "launch.log"
        seen = test.observe(args, log_path=log, on_progress=lambda _: None)
        assert judge(seen, machine, Proof.FULL).outcome is Outcome.FITS
        assert seen.single is not None
        return seen.single.decoded_tokens_per_s

    return tokens_per_s


@pytest.mark.parametrize("slow", [1])
def test_the_fastest_of_all_splits_is_found(
    bundled: Path, endpoints: list[str], stack: ExitStack, tmp_path: Path, slow: int
) -> None:
    """As measuring all of them finds it, in at most a third of the launches."""
    path = str(models.write_llama(tmp_path / "dense.gguf", **SHAPE))
    stack.enter_context(way := Slow(endpoints[slow]))
    endpoints[slow] = way.endpoint
    where = app.Where(server=bundled, rpc=",".join(endpoints), logs=tmp_path / "logs")
    found = app.optimize(path, where, REQUEST).study.found
    answer = found.trial.probe.placement
    with open_desk(path, where, REQUEST) as desk:
        tokens_per_s = measured(desk, tmp_path)
        n_slots = desk.target.shape.n_slots
        splits = [
            Placement(split=split)
            for split in product(range(n_slots + 1), repeat=2)
            if sum(split) <= n_slots
        ]
        every = {split: tokens_per_s(split) for split in splits}
        best = max(every, key=lambda split: every[split])
        pairs = [(tokens_per_s(answer), tokens_per_s(best)) for _ in range(AGAIN)]
    assert len(found.trials) <= len(splits) / 3
    assert found.stopped is None
    assert answer.split[slow] == best.split[slow] == 0
    differences = [there - here for here, there in pairs]
    error = stdev(differences) / AGAIN**0.5
    assert mean(differences) <= max(T_95 * error, 0.02 * mean(b for _, b in pairs))
