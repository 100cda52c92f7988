"""``placer verify``: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from placer.testing.fake_engine import Fault, fake_engine, launches, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.conftest import Desk

#: A fake engine decodes thousands of tokens a second or, slowed, some twenty.
LOOSE = ("--tolerance", "0.95")
DEVICES = {"Vulkan0": 40, "Vulkan1": 30}
MORE = """
[auto]
MODEL=moe.gguf
FIT=on

[gone]
MODEL=gone.gguf
"""


@pytest.fixture
def proved(desk: Desk) -> Desk:
    """The desk with its profile proved and written."""
    assert desk.placer("optimize", "moe", "--quiet").code == 0
    return desk


def test_a_table_shows_what_is_the_same(proved: Desk) -> None:
    """A row a figure, recorded beside now; then where both records lie."""
    answer = proved.placer("verify", "moe", *LOOSE)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("moe\nVulkan0 40.0 MiB free, Vulkan1 30.0 MiB free\n")
    assert re.search(r"^    1  FITS  ", answer.out, re.MULTILINE)
    assert "\nmoe: same\n" in answer.out
    row = r"^Vulkan0 MiB \(buffers\) +\d+ +\d+ +no difference *$"
    assert re.search(row, answer.out, re.MULTILINE)
    row = r"^decode tokens/s +[\d,.]+ +[\d,.]+ +no difference *$"
    assert re.search(row, answer.out, re.MULTILINE)
    assert re.search(
        r"^graph splits, token +\d+ +\d+ +no diff", answer.out, re.MULTILINE
    )
    assert re.search(r"^Recorded: search_logs/moe/[\d-]+$", answer.out, re.MULTILINE)
    assert "\nRecord: search_logs/moe/verified/" in answer.out


def test_quiet_is_one_line_a_profile(proved: Desk) -> None:
    """The name and one word."""
    assert proved.placer("verify", "moe", "-q", *LOOSE).out == "moe same\n"


def test_a_slower_engine_ends_with_4(proved: Desk) -> None:
    """The row says by how much."""
    fake_engine(proved.folder, devices=DEVICES, fault=Fault.SLOW)
    answer = proved.placer("verify", "moe", *LOOSE)
    assert answer.code == 4
    assert "\nmoe: worse\n" in answer.out
    row = r"^decode tokens/s +[\d,.]+ +[\d,.]+ +worse, -\d+ % *$"
    assert re.search(row, answer.out, re.MULTILINE)


def test_more_memory_ends_with_4(proved: Desk) -> None:
    """On a device that has the room."""
    fake_engine(proved.folder, devices=DEVICES, compute_factor=1.3)
    answer = proved.placer("verify", "moe", "--memory", "0", *LOOSE)
    assert answer.code == 4
    assert re.search(
        r"^Vulkan\d MiB .* worse, \+[\d.]+ [KM]iB *$", answer.out, re.MULTILINE
    )


def test_what_fits_no_more_ends_with_4(proved: Desk) -> None:
    """The verdict stands beside the name."""
    fake_engine(proved.folder, devices=DEVICES, overhead_mib={"Vulkan0": 39})
    answer = proved.placer("verify", "moe", *LOOSE)
    assert answer.code == 4
    assert "\nmoe: does not fit: OOM_WEIGHTS, on Vulkan0, asked" in answer.out
    assert proved.placer("verify", "moe", "-q").out == "moe does-not-fit\n"


def test_a_placement_without_a_record_is_shown(desk: Desk) -> None:
    """It is no regression."""
    answer = desk.placer("verify", "moe")
    assert answer.code == 0
    assert "\nmoe: no record of this placement: no search of it under" in answer.out
    assert re.search(r"^decode tokens/s +- +[\d,.]+ *$", answer.out, re.MULTILINE)


def test_all_profiles_and_what_becomes_of_them(proved: Desk) -> None:
    """One that cannot be verified does not stop the others."""
    proved.conf.write_text(MORE + proved.conf.read_text())
    answer = proved.placer("verify", "--all", "-q", *LOOSE)
    assert answer.out == "gone skipped\nauto not-verified\nmoe same\n"
    assert answer.code == 2

    answer = proved.placer("verify", "--all", *LOOSE)
    assert "gone: skipped: model gone.gguf was not found" in answer.out
    line = (
        "auto: not verified: models.conf:2: [auto] leaves its placement to the engine"
    )
    assert f"\n{line}; placer optimize auto writes one\n" in answer.out
    assert answer.out.endswith("\n1 skipped, 1 not verified, 1 same\n")


def test_json_is_one_document(proved: Desk) -> None:
    """All profiles, those that were not launched too."""
    proved.conf.write_text(MORE + proved.conf.read_text())
    answer = proved.placer("verify", "--all", "--json", *LOOSE)
    record = json.loads(answer.out)
    gone, auto, moe = record["profiles"]

    assert (answer.code, answer.err, record["schema"]) == (2, "", 1)
    assert (gone["status"], gone["trial"]) == ("skipped", None)
    assert (auto["status"], auto["record"]) == ("not-verified", None)
    assert (moe["name"], moe["status"], moe["reason"]) == ("moe", "same", None)
    assert moe["engine"] == moe["recorded_engine"] == "10434 (7e4c0a9)"
    assert moe["trial"]["verdict"] == "FITS"
    assert set(moe["figures"][0]) == {
        "name",
        "device",
        "recorded",
        "now",
        "kind",
        "source",
    }


@pytest.mark.parametrize(
    "args", [(), ("moe", "--all"), ("mo",), ("moe", "--tolerance", "2")]
)
def test_bad_input_ends_with_2(desk: Desk, args: tuple[str, ...]) -> None:
    """One line on standard error, and nothing is launched."""
    answer = desk.placer("verify", *args)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert launches(desk.engine) == ()


def test_no_engine_ends_with_3(desk: Desk) -> None:
    """Said once, on standard error."""
    answer = desk.placer("verify", "--all", "--server", "nowhere")
    assert (answer.code, answer.out) == (3, "")
    assert "no such program" in answer.err


def test_ctrl_c_ends_with_130_and_no_engine(
    desk: Desk, heeding: Callable[[], None]
) -> None:
    """As the terminal sends it, in the middle of a prompt."""
    fake_engine(desk.folder, devices=DEVICES, fault=Fault.HANG_AT_PROMPT)
    child = subprocess.Popen(
        [sys.executable, "-m", "placer", "verify", "moe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=heeding,  # noqa: PLW1509 - it only sets signals
    )
    until_s = time.monotonic() + 30
    while not any(not launch.dry_run for launch in launches(desk.engine)):
        assert time.monotonic() < until_s, "it never launched"
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err == "placer: interrupted while verifying moe\n"
    assert running(desk.engine) == ()
