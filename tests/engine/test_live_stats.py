"""What the real llama-server tells of itself while it works."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from placer.app.rig import open_rig
from placer.engine.client import ServerAnswerError, ServerClient
from placer.engine.health import Health
from placer.engine.live_stats import LiveStats, ServerStats
from placer.engine.timings import TimingsReader
from placer.testing import RpcDevices, models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.engine.process import EngineProcess

pytestmark = pytest.mark.engine
PATIENCE_S = 20
PROMPT, DECODED = 64, 400


@pytest.fixture
def server(bundled: Path, tmp_path: Path) -> Iterator[EngineProcess]:
    """A tiny model with two slots, on an RPC device of this machine."""
    model = models.write_llama(tmp_path / "model.gguf")
    flags = "-c 1024 -np 2 -b 32 -ub 32 -ngl 99 -fit off --metrics -lv 4 --no-warmup"
    with (
        RpcDevices(bundled, [1]) as devices,
        open_rig(server=bundled, rpc=devices.endpoints) as rig,
    ):
        names = ",".join(device.name for device in rig.machine.devices)
        args = ["-m", str(model), "-dev", names, *flags.split()]
        process = rig.runner.start(args, log_path=tmp_path / "server.log")
        try:
            yield process
        finally:
            process.stop()


def until(stats: LiveStats, is_so: Callable[[ServerStats], bool]) -> ServerStats:
    """The first reading that is so."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        seen = stats.read()
        if is_so(seen):
            return seen
        assert time.monotonic() < end_s, f"never so; last {seen}"
        time.sleep(0.01)


def test_slots_counters_and_timings_are_those_of_the_request(
    server: EngineProcess,
) -> None:
    """Every field that the dashboard reads is there in this build."""
    stats = LiveStats(server.base_url)
    idle = until(stats, lambda seen: seen.health is Health.READY)
    assert idle.slots is not None
    assert [(s.number, s.ctx, s.tokens, s.word) for s in idle.slots] == [
        (0, 512, 0, "idle"),
        (1, 512, 0, "idle"),
    ]
    assert idle.counters is not None
    assert idle.counters.decoded_tokens == 0

    def ask() -> None:
        try:
            with ServerClient(server.base_url, read_timeout_s=PATIENCE_S) as client:
                client.complete([7] * PROMPT, DECODED, lambda _: None, slot=1)
        except ServerAnswerError as error:
            failed.append(error)

    failed: list[Exception] = []
    request = threading.Thread(target=ask)
    request.start()
    writes = until(
        stats, lambda seen: bool(seen.slots and seen.slots[1].decoded_tokens)
    )
    request.join()
    assert not failed
    assert writes.slots is not None
    assert writes.slots[1].is_processing
    assert writes.slots[1].prompt_tokens == PROMPT
    assert PROMPT < (writes.slots[1].tokens or 0) <= PROMPT + DECODED

    ended = until(
        stats, lambda seen: bool(seen.slots and not seen.slots[1].is_processing)
    )
    stats.close()
    assert ended.counters is not None
    assert ended.counters.prompt_tokens == PROMPT
    assert ended.counters.decoded_tokens == pytest.approx(DECODED, abs=1)
    assert ended.counters.decode_s > 0
    reader = TimingsReader()
    said = server.log_path.read_text(errors="replace").splitlines()
    (timings,) = filter(None, map(reader.feed, said))
    assert (timings.prompt_tokens, timings.decoded_tokens) == (PROMPT, DECODED)
    assert timings.decoded_tokens_per_s
