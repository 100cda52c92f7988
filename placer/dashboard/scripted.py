"""Servers that are not there: for tests of the dashboard, and for its picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from placer.dashboard.reading import Ending, Reading, Speeds
from placer.engine.health import Health
from placer.engine.live_stats import Counters, ServerStats, Slot
from placer.engine.timings import Timings
from placer.machine.sensors import CardReading, HostReading
from placer.serve import Running, ServedDevice
from placer.units import GIB, MIB

CTX = 131_072
HOST = HostReading(
    cpu_percent=38.0,
    used_bytes=int(31.2 * GIB),
    total_bytes=int(62.7 * GIB),
    swap_used_bytes=int(0.2 * GIB),
    swap_total_bytes=8 * GIB,
    process_bytes=int(18.4 * GIB),
)
LAST = Timings(
    prompt_tokens=4816, prompt_s=3.9, decoded_tokens=612, decode_s=611 / 104.2
)
LOG = (
    "0.00.412.071 I srv    load_model: loading model '/models/glm-4.7-flash.gguf'",
    "0.09.771.905 W load: special_eos_id is not in special_eog_ids",
    "0.14.020.118 I llama_kv_cache:      CUDA0 KV buffer size =  3450.00 MiB",
    "0.14.021.480 I llama_kv_cache:      CUDA1 KV buffer size =  1175.00 MiB",
    "0.14.377.002 I sched_reserve:      CUDA0 compute buffer size =   552.01 MiB",
    "0.15.002.644 I srv  llama_server: model loaded",
    "0.15.002.660 I srv  llama_server: listening on http://127.0.0.1:8080",
    "0.15.002.702 I srv  update_slots: all slots are idle",
)
HEAD = "I slot print_timing: id  {slot} | task {task} |"
WORK = (
    "2.41.130.551 I slot launch_slot_: id  {slot} | task {task} | processing task",
    (
        "2.41.131.024 I slot   operator(): id  {slot} | task {task} | new prompt, "
        "n_ctx_slot = 131072, n_keep = 0, task.n_tokens = 4816"
    ),
    "2.44.870.336 D slot get_availabl: id  {slot} | task {task} | selected slot by LCP",
    (
        f"2.51.902.188 {HEAD} prompt eval time =    3900.00 ms /  4816 tokens "
        "(    0.81 ms per token,  1234.87 tokens per second)"
    ),
    (
        f"2.51.902.201 {HEAD}        eval time =    5863.72 ms /   612 tokens "
        "(    9.60 ms per token,   104.20 tokens per second)"
    ),
    (
        "2.51.903.377 I slot      release: id  {slot} | task {task} | stop processing: "
        "n_tokens = 5427, truncated = 0"
    ),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A server, and what is read of it, one reading a second."""

    running: Running
    readings: tuple[Reading, ...]


class ScriptedSource:
    """Gives readings in turn, the last one again and again, without new lines."""

    def __init__(self, scene: Scene) -> None:
        self._running = scene.running
        self._readings = list(scene.readings)
        self.is_closed = False

    @property
    def running(self) -> Running:
        """The record of the server."""
        return self._running

    def read(self) -> Reading:
        """The next reading."""
        if len(self._readings) > 1:
            return self._readings.pop(0)
        last = self._readings[0]
        self._readings[0] = replace(last, lines=())
        return last

    def close(self) -> None:
        """It was let go of."""
        self.is_closed = True


def two_gpus() -> Scene:
    """A server on two unequal cards, one of which draws the screen; it is busy."""
    devices = (
        ServedDevice(
            name="CUDA0",
            description="NVIDIA GeForce RTX 4090",
            total_bytes=24564 * MIB,
            free_bytes=23671 * MIB,
            planned_bytes=21810 * MIB,
        ),
        ServedDevice(
            name="CUDA1",
            description="NVIDIA GeForce RTX 5070 Ti",
            total_bytes=16303 * MIB,
            free_bytes=12761 * MIB,
            planned_bytes=9870 * MIB,
        ),
    )
    running = replace(_running(), devices=devices)
    readings = [_busy(step) for step in range(SPAN)]
    readings[0] = replace(readings[0], lines=LOG)
    return Scene(running, tuple(readings))


def emulated_gpus() -> Scene:
    """A server on two devices that are not there: of these only memory is known."""
    sizes_mib = ((512, 188, 190), (384, 121, 118))
    devices = tuple(
        ServedDevice(
            name=f"Vulkan{n}",
            description=f"Emulated GPU {n} ({total} MiB)",
            total_bytes=total * MIB,
            free_bytes=total * MIB,
            planned_bytes=planned * MIB,
        )
        for n, (total, _, planned) in enumerate(sizes_mib)
    )
    cards = tuple(
        CardReading(
            used_bytes=held * MIB, total_bytes=total * MIB, held_bytes=held * MIB
        )
        for total, held, _ in sizes_mib
    )
    reading = replace(no_gpu().readings[0], cards=cards)
    return Scene(replace(_running(), devices=devices, emulated=True), (reading,))


def no_gpu() -> Scene:
    """A server on the processor alone, with nothing to do."""
    slots = tuple(
        Slot(number=n, ctx=4096, is_processing=False, tokens=0) for n in range(4)
    )
    server = ServerStats(health=Health.READY, slots=slots, counters=Counters())
    reading = Reading(
        uptime_s=95.0,
        cards=(),
        host=replace(HOST, swap_total_bytes=0, swap_used_bytes=0),
        server=server,
        speeds=Speeds(prompt=0.0, decode=0.0),
        lines=LOG,
    )
    return Scene(_running(), (reading,))


def dead() -> Scene:
    """The server on two cards, after one of them ran out of memory."""
    ending = Ending(
        verdict="OOM_IN_USE, on CUDA1, asked 1,228 MiB, 412 MiB free",
        advice="leave CUDA1 more free: lower -ub, or move a layer off it",
    )
    end = Reading(
        uptime_s=12_340.0,
        cards=(CardReading(used_bytes=893 * MIB), CardReading(used_bytes=3542 * MIB)),
        host=replace(HOST, process_bytes=None),
        last=LAST,
        lines=(
            *LOG,
            (
                "3.02.118.400 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating "
                "1228.00 MiB on device 1: cudaMalloc failed: out of memory"
            ),
            "3.02.118.466 E srv  update_slots: Compute error. off = 0, ret = -2",
        ),
        ending=ending,
    )
    return Scene(two_gpus().running, (end,))


SPAN = 90


def _running() -> Running:
    return Running(
        profile="glm-q8",
        name="GLM 4.7 Flash Q8_0",
        model="/models/glm-4.7-flash.gguf",
        base_url="http://127.0.0.1:8080",
        argv=(),
        log=Path("server.log"),
        started="2026-01-02T03:04:05+00:00",
        engine="b10434",
        devices=(),
        ctx=2 * CTX,
        parallel=2,
    )


def _busy(step: int) -> Reading:
    """A moment: one slot writes, the other reads every now and then."""
    reads = step % 30 < 8
    wave = math.sin(step / 4)
    decode = 104.2 - (38 if reads else 0) + 4 * wave
    slots = (
        Slot(
            number=0,
            ctx=CTX,
            is_processing=True,
            task=7,
            tokens=73_700 + 6 * step,
            decoded_tokens=40 + 6 * step,
        ),
        Slot(
            number=1,
            ctx=CTX,
            is_processing=reads,
            task=11 + step // 30,
            tokens=5_427 if not reads else 610 * (step % 30 + 1),
            prompt_tokens=610 * (step % 30 + 1) if reads else 0,
        ),
    )
    return Reading(
        uptime_s=12_000.0 + step,
        cards=_cards(wave),
        host=HOST,
        server=ServerStats(health=Health.READY, slots=slots, counters=Counters()),
        speeds=Speeds(prompt=1240.0 + 60 * wave if reads else 0.0, decode=decode),
        last=LAST,
        lines=tuple(one.format(slot=1, task=11 + step // 30) for one in WORK)
        if step % 30 == 8
        else (),
    )


def _cards(wave: float) -> tuple[CardReading, ...]:
    return (
        CardReading(
            used_bytes=22_390 * MIB,
            total_bytes=24_564 * MIB,
            held_bytes=21_497 * MIB,
            busy_percent=round(92 + 5 * wave),
            power_w=318.0 + 20 * wave,
            power_limit_w=450.0,
            temperature_c=67,
            link_generation=4,
            link_width=16,
        ),
        CardReading(
            used_bytes=13_284 * MIB,
            total_bytes=16_303 * MIB,
            held_bytes=9_741 * MIB,
            busy_percent=round(61 + 8 * wave),
            power_w=171.0 + 9 * wave,
            power_limit_w=300.0,
            temperature_c=58,
            link_generation=4,
            link_width=8,
        ),
    )
