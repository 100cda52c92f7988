"""A log is not trusted: whatever stands in it, it is read."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.engine import paste, phrases
from placer.engine.advice import advice
from placer.engine.binary import parse_devices
from placer.engine.follow import LogFollower
from placer.engine.judge import judge, judge_log
from placer.engine.log import read_log
from placer.engine.observation import Observation, Proof, Stage
from placer.engine.paste import read_paste
from placer.testing.fake_shapes import fake_machine

PATTERNS = [
    str(value.pattern)
    for module in (phrases, paste)
    for value in vars(module).values()
    if isinstance(value, re.Pattern)
]
texts_of_patterns = [st.from_regex(pattern) for pattern in PATTERNS]
numbers = st.sampled_from(
    ["0", "9" * 30, ".", "9.9.9", "-1", "1e99", "٣", "²", "", "0x10", "nan"]
)
templates = st.sampled_from(
    [
        "Vulkan0 KV buffer size = {} MiB",
        "failed to allocate CUDA0 buffer of size {}",
        "allocating {} MiB on device {}: cudaMalloc failed: out of memory",
        "Device memory allocation of size {} failed",
        "| - CUDA0 (a) | {} = {} + ( {} = {} + {} + {}) + {} |",
        "| - Host | {} = {} + {} + {} |",
        "graph splits = {} (with bs=512), {} (with bs=1)",
        "splits = {} / {}",
        "CUDA error: out of memory\n  current device: {}, in function f at x:{}",
    ]
)
written = st.builds(
    lambda template, values: template.format(*values),
    templates,
    st.lists(numbers, min_size=7, max_size=7),
)
lines = st.lists(
    written | st.text(max_size=80) | st.one_of(texts_of_patterns),
    max_size=12,
)


@settings(max_examples=300)
@given(lines, st.sampled_from([None, 0, 1, 134, -4, -9, 200]))
def test_no_line_raises(texts: list[str], exit_code: int | None) -> None:
    """Neither reading nor judging fails, and no size is negative."""
    facts = read_log(texts)
    machine = fake_machine([1, 2], backend="CUDA")
    seen = Observation(
        stage=Stage.STARTED,
        exit_code=exit_code,
        stalled=exit_code is None,
        answer_error=None,
        facts=facts,
        free_bytes=(1, 2),
    )
    verdict = judge(seen, machine, Proof.FULL)
    assert verdict.asked_bytes is None or verdict.asked_bytes >= 0
    assert verdict.free_bytes is None or verdict.free_bytes >= 0


@settings(max_examples=300)
@given(
    st.binary(max_size=200) | lines.map(lambda texts: "\n".join(texts).encode()),
    st.sampled_from([None, 0, 1, 124, 134, -4, 137, 0xC0000005]),
)
def test_no_paste_raises(data: bytes, exit_code: int | None) -> None:
    """Whatever bytes are judged: one verdict, and advice unless nothing is wrong."""
    found = read_paste(data)
    code = found.exit_code if exit_code is None else exit_code
    verdict = judge_log(read_log(found.lines), exit_code=code, ending=found.ending)
    assert verdict.outcome.value not in ("FITS", "SPILLED", "SPOILED")
    assert verdict.phase is None or verdict.outcome.is_oom
    assert advice(verdict) is not None or verdict.outcome.value == "OK"


@given(st.text(max_size=300))
def test_no_device_list_raises(text: str) -> None:
    """Lines that are no devices are passed over."""
    assert parse_devices(text) == ()


@pytest.mark.parametrize(
    "piece",
    [
        "=",
        "a ",
        "| - a (",
        "1 E",
        "using device a (",
        "splits = 1",
        "\x00",
        "> ",
        "\x1b[",
    ],
)
def test_an_endless_line_takes_no_time(piece: str) -> None:
    """A megabyte without a line break is read in less than a second."""
    began_s = time.perf_counter()
    read_log([piece * (1_000_000 // len(piece))])
    read_paste((piece * (1_000_000 // len(piece))).encode())
    assert time.perf_counter() - began_s < 1


@settings(max_examples=60)
@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=12))
def test_a_followed_log_has_each_line_once(data: bytes, sizes: list[int]) -> None:
    """In whatever pieces a log grows, its lines come whole, in order and once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.log"
        follower = LogFollower(path)
        assert follower.new_lines() == []
        found: list[str] = []
        start = 0
        for size in [*sizes, len(data)]:
            with path.open("ab") as file:
                file.write(data[start : start + size])
            start += size
            found += follower.new_lines()
        found += follower.last_line()
        assert follower.last_line() == []
    whole = data.decode("utf-8", "replace").split("\n")
    assert "\n".join(found) == "\n".join(whole).removesuffix("\n")
