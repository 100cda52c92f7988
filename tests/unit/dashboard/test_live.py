from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.dashboard.live import LOG_BYTES, LogTail, open_source
from placer.engine.process import free_port
from placer.errors import InputError
from placer.serve import Running, ServedDevice, StateFolder
from placer.testing.fake_http import HttpServer, Reply, Request
from placer.testing.state import StateFile, create_state
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.dashboard.reading import Reading

SLOT = {"id": 0, "n_ctx": 4096, "is_processing": True, "n_prompt_tokens": 1024}
TIMINGS = (
    "slot print_timing: id  0 | task 1 | prompt eval time = 500.00 ms /  100 tokens\n"
    "slot print_timing: id  0 | task 1 |        eval time = 900.00 ms /   10 tokens\n"
)


class Served:
    """A server on record: this process, with answers of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder / "state")
        self.is_healthy = self.is_busy = True
        self.asked: list[str] = []
        port = free_port()
        HttpServer("127.0.0.1", port).start(self._answer)
        devices = [
            ServedDevice(
                name=name,
                description="",
                total_bytes=512 * MIB,
                free_bytes=512 * MIB,
                planned_bytes=None,
            )
            for name in ("Vulkan1", "Vulkan0")
        ]
        self.running = Running(
            profile="tiny",
            name="Tiny",
            model="tiny.gguf",
            base_url=f"http://127.0.0.1:{port}",
            argv=("llama-server",),
            log=self.state.folder("tiny") / "server.log",
            started="2026-01-02T03:04:05+00:00",
            engine="b1",
            devices=tuple(devices),
            pid=os.getpid(),
            pid_created=psutil.Process().create_time(),
            emulated=True,
        )
        self.keep(self.running)
        self.running.log.write_text("first\n")

    def keep(self, running: Running) -> None:
        """This is its record from now on."""
        self.running = running
        self.state.keep(running)

    def emulate(self) -> StateFile:
        """The devices, of which the first has a neighbour."""
        gpus = self.state.folder("tiny") / "gpus"
        gpus.mkdir()
        create_state(gpus / "state", [300 * MIB, 200 * MIB])
        file = StateFile(gpus / "state")
        file.set_neighbour(0, 90 * MIB)
        return file

    def read(self) -> Reading:
        """The first reading of a dashboard."""
        with closing(open_source("tiny", self.state)) as source:
            return source.read()

    def _answer(self, request: Request, reply: Reply) -> None:
        self.asked.append(request.path)
        if not self.is_healthy:
            reply.error(500, "broken")
        elif request.path == "/metrics":
            reply.error(501, "no")
        else:
            slot = SLOT | {"is_processing": self.is_busy}
            reply.json(200, [slot] if request.path == "/slots" else {})


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """A server that answers."""
    return Served(tmp_path)


def test_a_running_server_is_read(served: Served) -> None:
    """Its answers, its log, its process, and the emulated device of each name."""
    with closing(served.emulate()):
        reading = served.read()
    assert reading.word == "ready"
    assert reading.at_work == 1
    assert reading.lines == ("first",)
    assert reading.host.process_bytes is not None
    first, second = reading.cards
    assert (first.used_bytes, first.total_bytes) == (0, 200 * MIB)
    assert (second.used_bytes, second.total_bytes) == (90 * MIB, 300 * MIB)
    assert second.held_bytes == 0
    assert second.busy_percent is None


def test_devices_without_their_file_are_not_known(served: Served) -> None:
    """It went with the server, or is another version's."""
    assert [card.used_bytes for card in served.read().cards] == [None, None]


def test_silence_is_told_and_ends(served: Served) -> None:
    """What was answered last stands meanwhile, and no speed does."""
    with closing(open_source("tiny", served.state)) as source:
        assert source.read().word == "ready"
        served.is_healthy = False
        silent = source.read()
        assert silent.word == "silent"
        assert silent.silent_s > 0
        assert silent.at_work == 1
        assert silent.speeds.decode is None
        served.is_healthy = True
        assert source.read().word == "ready"


def test_an_idle_server_is_left_alone_until_it_says_something(served: Served) -> None:
    """Each question about its slots is a line in its log."""
    served.is_busy = False
    with closing(open_source("tiny", served.state)) as source:
        source.read()
        served.asked.clear()
        assert source.read().word == "ready"
        assert served.asked == ["/health"]
        served.is_busy = True
        with served.running.log.open("a") as log:
            log.write("srv  update_slots: all slots are idle\n")
        assert source.read().at_work == 0
        with served.running.log.open("a") as log:
            log.write("slot launch_slot_: id  0 | task 1 | processing task\n")
        assert source.read().at_work == 1


def test_new_lines_come_once_with_their_timings(served: Served) -> None:
    """The last request that ended is known from the log."""
    with closing(open_source("tiny", served.state)) as source:
        source.read()
        with served.running.log.open("a") as log:
            log.write(TIMINGS)
        reading = source.read()
        assert len(reading.lines) == 2
        assert reading.last is not None
        assert reading.last.decoded_tokens_per_s == pytest.approx(10)
        assert source.read().lines == ()


def test_an_ended_server_has_a_verdict(served: Served) -> None:
    """Its log says why, and nothing of it is at work any more."""
    served.keep(replace(served.running, pid_created=1.0))
    served.running.log.write_text(
        "0.00.005.000 I srv    load_model: loading model 'tiny.gguf'\n"
        "0.00.010.000 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 900.00 "
        "MiB on device 0: cudaMalloc failed: out of memory\n"
        "0.00.010.100 E alloc_tensor_range: failed to allocate CUDA0 buffer of size "
        "943718400\n"
        "0.00.010.200 E llama_model_load: error loading model: unable to allocate "
        "CUDA0 buffer\n"
        "0.00.010.300 E srv  llama_server: exiting due to model loading error\n"
    )
    reading = served.read()
    assert reading.word == "ended"
    assert reading.at_work == 0
    assert reading.ending is not None
    assert str(reading.ending.verdict).startswith("OOM_WEIGHTS, on CUDA0")
    assert "move layers" in reading.ending.advice


def test_a_server_that_was_stopped_elsewhere_is_not_judged(served: Served) -> None:
    """Its record went, so that was on purpose."""
    served.keep(replace(served.running, pid_created=1.0))
    with closing(open_source("tiny", served.state)) as source:
        served.state.forget("tiny")
        ending = source.read().ending
    assert ending is not None
    assert "stopped by another command" in ending.advice


def test_what_is_not_on_record_is_not_watched(tmp_path: Path) -> None:
    """One line says what to do."""
    with pytest.raises(InputError, match="placer serve glm starts one"):
        open_source("glm", StateFolder(tmp_path))


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    """From a whole line on."""
    path = tmp_path / "server.log"
    line = "x" * 99 + "\n"
    path.write_text("0" + line * (LOG_BYTES // 100 + 50))
    tail = LogTail(path)
    lines = tail.new_lines()
    assert LOG_BYTES - 200 < sum(len(one) + 1 for one in lines) <= LOG_BYTES
    assert set(lines) == {line.strip()}
