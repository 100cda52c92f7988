from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.machine import host
from placer.machine.host import GB, host_bandwidth, measure
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

MEASURED = 42e9


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads of each measurement, which are pretended, on an idle machine."""
    calls: list[int] = []

    def pretend(threads: int) -> float:
        calls.append(threads)
        return MEASURED

    monkeypatch.setattr(host, "measure", pretend)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    return calls


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_read_as_fast_as_memory_is(threads: int) -> None:
    """Between the slowest that is sold and the fastest; in whole GB/s."""
    found = measure(threads)
    assert found is not None
    assert GB <= found < 5000 * GB
    assert found % GB == 0


def test_a_machine_that_is_short_of_memory_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The buffer is no more than a share of what is free."""
    memory = SimpleNamespace(available=host.LEAST_BYTES * 3, total=MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert measure(1) is None


def test_a_measurement_is_remembered(tmp_path: Path, measured: list[int]) -> None:
    """In a folder that need not be there yet, and nothing else stays in it."""
    path = tmp_path / "cache" / "host.json"
    assert host_bandwidth(path) == MEASURED
    assert host_bandwidth(path) == MEASURED
    assert len(measured) == 1
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("field", ["boot", "threads", "memory_bytes"])
def test_it_holds_for_one_boot_of_one_machine(
    tmp_path: Path, measured: list[int], field: str
) -> None:
    """Under any other key it is measured again, and remembered in its place."""
    path = tmp_path / "host.json"
    host_bandwidth(path)
    record = json.loads(path.read_text())
    record["key"][field] = "another"
    path.write_text(json.dumps(record))
    assert host_bandwidth(path) == MEASURED
    assert len(measured) == 2
    assert json.loads(path.read_text())["key"][field] != "another"


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe", b"[]", b"{", b'{"key": 1}', b"12"],
)
def test_a_damaged_file_is_measured_over(
    tmp_path: Path, measured: list[int], damage: bytes
) -> None:
    """Whatever it holds."""
    path = tmp_path / "host.json"
    path.write_bytes(damage)
    assert host_bandwidth(path) == MEASURED
    assert len(measured) == 1


@pytest.mark.parametrize("figure", [None, "fast", -1, 0, 1e999, [1]])
def test_a_figure_that_is_none_is_measured_over(
    tmp_path: Path, measured: list[int], figure: object
) -> None:
    """Also under the right key."""
    path = tmp_path / "host.json"
    host_bandwidth(path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "bytes_per_s": figure}))
    assert host_bandwidth(path) == MEASURED
    assert len(measured) == 2


def test_a_busy_machine_is_remembered_for_an_hour(
    tmp_path: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plans in a row say the same, and later ones are told what it can do."""
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    path = tmp_path / "host.json"
    assert host_bandwidth(path) == host_bandwidth(path) == MEASURED
    assert len(measured) == 1

    until_s = json.loads(path.read_text())["until_s"]
    monkeypatch.setattr(time, "time", lambda: until_s + 1)
    assert host_bandwidth(path) == MEASURED
    assert len(measured) == 2


def test_a_cache_that_cannot_be_written_is_no_fault(
    tmp_path: Path, measured: list[int]
) -> None:
    """A file stands where its folder would be."""
    (tmp_path / "file").write_text("")
    assert host_bandwidth(tmp_path / "file" / "host.json") == MEASURED
