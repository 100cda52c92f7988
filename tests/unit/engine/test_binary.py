"""Which llama-server, which build, which devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from placer.engine.binary import (
    SERVER_VARIABLE,
    Engine,
    find_binary,
    identify,
    list_devices,
    parse_devices,
)
from placer.errors import MachineError
from placer.testing.fake_engine import Fault, fake_engine
from placer.units import MIB

CUDA = """\
ggml_cuda_init: GGML_CUDA_FORCE_MMQ:    no
ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 23671 MiB free)
  CUDA1: NVIDIA GeForce RTX 5070 Ti (16303 MiB, 12761 MiB free)
"""
ROCM = """\
Available devices:
  ROCm0: AMD Radeon RX 7900 XTX (24560 MiB, 24490 MiB free)
"""
VULKAN = """\
Available devices:
  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 2048 MiB free)
  Vulkan1: Intel(R) Arc(tm) A770 Graphics (DG2) (16032 MiB, 14000 MiB free)
"""
METAL = """\
Available devices:
  Metal: Apple M2 Max (73728 MiB, 73728 MiB free)
  BLAS: Accelerate (0 MiB, 0 MiB free)
"""
METAL_NEW = """\
Available devices:
  MTL0: Apple M4 (12713 MiB, 12713 MiB free)
  BLAS: Accelerate (0 MiB, 0 MiB free)
"""
RPC = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 23671 MiB free)
  RPC0: 192.168.7.2:50052 (24105 MiB, 24105 MiB free)
  RPC1: 127.0.0.1:50053 (24105 MiB, 24000 MiB free)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CUDA, [("CUDA0", "CUDA", 24564, 23671), ("CUDA1", "CUDA", 16303, 12761)]),
        (ROCM, [("ROCm0", "ROCm", 24560, 24490)]),
        (
            VULKAN,
            [("Vulkan0", "Vulkan", 2048, 2048), ("Vulkan1", "Vulkan", 16032, 14000)],
        ),
        (METAL, [("Metal", "Metal", 73728, 73728)]),
        (METAL_NEW, [("MTL0", "MTL", 12713, 12713)]),
        ("Available devices:\n  (none)\n", []),
        ("", []),
    ],
)
def test_device_lists_are_read(
    text: str, expected: list[tuple[str, str, int, int]]
) -> None:
    """Names, backends and sizes are as the engine prints them."""
    found = [
        (d.name, d.backend, d.total_bytes // MIB, d.free_bytes // MIB)
        for d in parse_devices(text)
    ]
    assert found == expected


def test_a_name_with_parentheses_is_whole() -> None:
    """The last pair of parentheses holds the sizes, those before are the name."""
    assert [d.description for d in parse_devices(VULKAN)] == [
        "llvmpipe (LLVM 15.0.6, 256 bits)",
        "Intel(R) Arc(tm) A770 Graphics (DG2)",
    ]


def test_rpc_devices_carry_their_endpoint() -> None:
    """They come first, and -ot calls their memory by the endpoint."""
    devices = parse_devices(RPC, "192.168.7.2:50052,127.0.0.1:50053")
    assert [(d.name, d.buffer_type) for d in devices] == [
        ("RPC0", "RPC0[192.168.7.2:50052]"),
        ("RPC1", "RPC0[127.0.0.1:50053]"),
        ("CUDA0", "CUDA0"),
    ]


def test_an_endpoint_that_does_not_answer_is_an_error() -> None:
    """The engine leaves it out silently; placer does not."""
    with pytest.raises(MachineError, match="2 RPC endpoints are named, 0 answer"):
        parse_devices(CUDA, "a:1,b:2")


def program(folder: Path, script: str) -> Engine:
    """An engine that is a shell script."""
    binary = folder / "llama-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return Engine(binary=binary, config_home=folder)


@pytest.mark.parametrize(
    ("said", "build"),
    [
        ("version: 10434 (7e4c0a9)", "10434 (7e4c0a9)"),
        ("version: 0.1.0-dev (build 10434, commit 7e4c0a9)", "10434 (7e4c0a9)"),
        ("version: 0.1.0-dev (build 1, commit 7e4c0a9)", "1 (7e4c0a9)"),
        ("version: 4.2 of my own", "4.2 of my own"),
    ],
)
def test_an_engine_is_identified(tmp_path: Path, said: str, build: str) -> None:
    """Build and commit, on whichever stream; else what it says."""
    assert identify(program(tmp_path, f"echo '{said}' >&2")) == build
    assert identify(program(tmp_path, f"echo '{said}'")) == build


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo hello", "is no llama-server: it exited with 0, it said 'hello'"),
        ("echo no such flag >&2; exit 2", "it exited with 2, it said 'no such flag'"),
        ("exit 3", "it exited with 3"),
        ("kill -SEGV $$", "died with SIGSEGV"),
    ],
)
def test_another_program_is_no_engine(
    tmp_path: Path, script: str, problem: str
) -> None:
    """What it did instead is told, with its path."""
    engine = program(tmp_path, script)
    with pytest.raises(MachineError, match=problem) as error:
        identify(engine)
    assert str(engine.binary) in str(error.value)


def test_a_file_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    """A program for another system is a machine error with a hint."""
    binary = tmp_path / "llama-server"
    binary.write_bytes(b"\x7fELF not really")
    binary.chmod(0o755)
    with pytest.raises(MachineError, match="cannot be started") as error:
        list_devices(Engine(binary=binary, config_home=tmp_path))
    assert "--server" in str(error.value)


def test_a_crash_while_listing_is_told(tmp_path: Path) -> None:
    """A signal is named, not taken for an empty list."""
    engine = fake_engine(tmp_path, fault=Fault.SIGILL_AT_START)
    with pytest.raises(MachineError, match="died with SIGILL"):
        list_devices(Engine(binary=engine, config_home=tmp_path))


def test_the_given_program_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--server, then the variable, then the bundled one, then PATH."""
    places = {}
    for name in ("given", "named", "on_path"):
        (tmp_path / name).mkdir()
        places[name] = fake_engine(tmp_path / name)
    bundled = Path("/bundled/llama-server")
    monkeypatch.setenv("PATH", str(tmp_path / "on_path"))
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    assert find_binary(None) == places["on_path"]
    assert find_binary(None, bundled) == bundled
    monkeypatch.setenv(SERVER_VARIABLE, str(places["named"]))
    assert find_binary(None, bundled) == places["named"]
    assert find_binary(places["given"], bundled) == places["given"]


def test_a_missing_program_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says where it was looked for and how to go on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    with pytest.raises(MachineError, match="no llama-server is on PATH"):
        find_binary(None)
    with pytest.raises(MachineError, match="no such program"):
        find_binary(tmp_path / "nowhere")
