from __future__ import annotations

import time
from typing import TYPE_CHECKING

from placer.engine.health import Health
from placer.engine.live_stats import (
    Counters,
    LiveStats,
    ServerStats,
    Slot,
    read_metrics,
    read_slots,
)
from placer.engine.process import free_port
from placer.testing.fake_http import HttpServer, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

METRICS = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 700
llamacpp:prompt_seconds_total 14.6694
llamacpp:tokens_predicted_total 1.2e+06
llamacpp:tokens_predicted_seconds_total 42.1
llamacpp:requests_deferred 3
llamacpp:spec_decode_num_accepted_tokens_per_pos_total{position="0"} 7
"""


def read(answer: Callable[[Request, Reply], None]) -> ServerStats:
    """What is read of a server that answers so."""
    port = free_port()
    HttpServer("127.0.0.1", port).start(answer)
    stats = LiveStats(f"http://127.0.0.1:{port}", timeout_s=0.2)
    try:
        return stats.read()
    finally:
        stats.close()


def test_newer_and_older_slots_are_read() -> None:
    """``next_token`` is a list or one entry, and old builds say no tokens."""
    new = {
        "id": 1,
        "n_ctx": 1024,
        "is_processing": True,
        "id_task": 2,
        "n_prompt_tokens": 249,
        "n_prompt_tokens_processed": 100,
        "next_token": [{"n_decoded": 149}],
    }
    old = {"id": 0, "n_ctx": 512, "id_task": -1, "next_token": {"n_decoded": 7}}
    first, second = read_slots([new, old]) or ()
    assert first == Slot(
        number=1,
        ctx=1024,
        is_processing=True,
        task=2,
        tokens=249,
        prompt_tokens=100,
        decoded_tokens=149,
    )
    assert (second.tokens, second.decoded_tokens, second.word) == (None, 7, "idle")


def test_a_slot_before_its_first_request_is_empty() -> None:
    """It says nothing of tokens, as there are none."""
    (slot,) = read_slots([{"id": 0, "n_ctx": 512, "is_processing": False}]) or ()
    assert slot.tokens == 0


def test_a_slot_reads_first_and_then_writes() -> None:
    """The first token that it wrote ends its prompt."""
    reads = Slot(number=0, ctx=1, is_processing=True)
    writes = Slot(number=0, ctx=1, is_processing=True, decoded_tokens=1)
    assert (reads.word, writes.word) == ("prompt", "decode")


def test_counters_are_read_whatever_stands_between() -> None:
    """Comments and labelled series are passed over."""
    assert read_metrics(METRICS) == Counters(
        prompt_tokens=700,
        prompt_s=14.6694,
        decoded_tokens=1_200_000,
        decode_s=42.1,
        deferred=3,
    )
    assert read_metrics("<html>no</html>") is None


def test_a_server_without_metrics_still_tells_its_slots() -> None:
    """``--metrics`` and ``--no-slots`` are its owner's business."""

    def answer(request: Request, reply: Reply) -> None:
        if request.path == "/metrics":
            reply.error(501, "start it with --metrics")
        else:
            reply.json(200, [] if request.path == "/slots" else {"status": "ok"})

    assert read(answer) == ServerStats(health=Health.READY, slots=())


def test_a_server_that_loads_is_not_asked_more() -> None:
    """All its answers would be the same."""
    asked = []

    def answer(request: Request, reply: Reply) -> None:
        asked.append(request.path)
        reply.error(503, "Loading model")

    assert read(answer) == ServerStats(health=Health.LOADING)
    assert asked == ["/health"]


def test_a_server_that_hangs_is_given_up() -> None:
    """What it answered before it hung stands, the rest is not known."""

    def answer(request: Request, reply: Reply) -> None:
        if request.path != "/health":
            time.sleep(1)
        reply.json(200, {})

    began_s = time.monotonic()
    assert read(answer) == ServerStats(health=Health.READY)
    assert time.monotonic() - began_s < 1


def test_nobody_there_is_silence() -> None:
    """A refused connection is no error of placer's."""
    stats = LiveStats(f"http://127.0.0.1:{free_port()}")
    assert stats.read() == ServerStats(health=Health.SILENT)
    stats.close()


def test_a_key_is_sent_along() -> None:
    """A server that wants one would tell nothing without."""
    stats = LiveStats("http://127.0.0.1:1", "secret")
    assert stats._http.headers["Authorization"] == "Bearer secret"
    stats.close()
