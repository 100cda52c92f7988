from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Desk

TWO = "CUDA0:2000:1800,CUDA1:1000:900"
ON_TWO = ("estimate", "moe", "--devices", TWO, "-ts", "5,2", "-ot", "x=CPU")
FIELDS = {
    "name",
    "total_bytes",
    "free_bytes",
    "model_bytes",
    "context_bytes",
    "compute_bytes",
    "overhead_bytes",
    "headroom_bytes",
}


@pytest.fixture(autouse=True)
def _no_engine(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any start of an engine would be an error."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", "/nowhere/llama-server")


def test_the_json_holds_what_scripts_count_on(desk: Desk) -> None:
    """Every field of the schema; headroom is free less all that is held."""
    answer = desk.placer(*ON_TWO, "--json")
    record = json.loads(answer.out)

    assert (answer.code, record["schema"], record["fits"]) == (0, 1, True)
    assert set(record["source"].values()) == {"formula"}
    assert set(record["host"]) == {
        "model_bytes",
        "context_bytes",
        "compute_bytes",
        "beside_bytes",
        "free_bytes",
    }
    assert (record["name"], record["machine"]) == ("moe", None)
    assert record["workload"]["ctx"] == 512
    assert len(record["graph_splits"]) == 2
    assert record["args"][:4] == ["-ngl", "7", "-ts", "5,2"]
    for device in record["devices"]:
        assert set(device) >= FIELDS
        held = ("model_bytes", "context_bytes", "compute_bytes", "overhead_bytes")
        spent = sum(device[name] for name in (*held, "beside_bytes"))
        assert device["headroom_bytes"] == device["free_bytes"] - spent


@pytest.mark.parametrize(
    ("devices", "code", "word"),
    [(TWO, 0, "fits\n"), ("Vulkan0:2", 4, "does not fit\n")],
)
def test_quiet_is_one_word_and_an_exit_code(
    desk: Desk, devices: str, code: int, word: str
) -> None:
    """For scripts that only want to know."""
    answer = desk.placer("estimate", "moe", "--devices", devices, "--quiet")

    assert (answer.code, answer.out, answer.err) == (code, word, "")


def test_what_is_not_known_is_never_said_to_fit(desk: Desk) -> None:
    """The third word, and the exit code of what does not fit."""
    asked = ("estimate", "moe", "--devices", TWO, "--spec-type", "draft-eagle3")
    quiet, picture = desk.placer(*asked, "--quiet"), desk.placer(*asked)

    assert (quiet.code, quiet.out) == (4, "not known\n")
    assert "Not known: CUDA" in picture.out
    assert "what --spec-type draft-eagle3 takes is not known" in picture.out


@pytest.mark.parametrize("columns", [80, 200])
def test_bars_have_one_scale(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """The smaller device's bar is shorter, by as much as the device is smaller."""
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = desk.placer(*ON_TWO)
    bars = re.findall(r"^CUDA\d  ([█▓▒░·]+)", answer.out, re.MULTILINE)

    assert len(bars) == 2
    assert len(bars[1]) / len(bars[0]) == pytest.approx(0.5, abs=0.1)
    lines = answer.out.splitlines()
    table = [line for line in lines if not line.endswith(".")]
    assert all(len(line.rstrip()) <= columns for line in table)
    assert "Fits: CUDA1 is the tightest" in answer.out
    assert "Figures by formula; graph splits" in answer.out


def test_what_does_not_fit_says_what_would_help(desk: Desk) -> None:
    """Which device is short, by how much, and what each change frees."""
    answer = desk.placer(
        "estimate", "moe", "--devices", "Vulkan0:90", "-c", "65536", "-ts", "1"
    )

    assert answer.code == 4
    assert re.search(r"Does not fit: Vulkan0 is [\d.]+ MiB short", answer.out)
    assert "--ctx 32768 would free" in answer.out
    assert "!" in answer.out


def test_a_plan_for_a_machine_that_is_not_here(desk: Desk) -> None:
    """Ranked, by formula, with the machine's name and what was assumed."""
    answer = desk.placer("plan", "moe", "--machine", "rtx-4090+rtx-5070-ti")

    assert (answer.code, answer.err) == (0, "")
    assert "on GeForce RTX 4090 + GeForce RTX 5070 Ti" in answer.out
    assert re.search(r"^1 +A ", answer.out, re.MULTILINE)
    assert re.search(r"^1: -ngl 7 -sm none -mg 0 -ts 7$", answer.out, re.MULTILINE)
    assert "free memory of CUDA1 is assumed" in answer.out


def test_a_machine_that_is_not_here_can_be_looked_at(desk: Desk) -> None:
    """Its devices, their speed, and where the figures come from."""
    answer = desk.placer("devices", "--machine", "dgx-spark")
    record = json.loads(desk.placer("devices", "--machine", "dgx-spark", "--json").out)

    assert "NVIDIA GB10" in answer.out
    assert "273" in answer.out
    assert "shared with the device; no engine was asked" in answer.out
    assert record["unified"]
    assert record["engine"] is None
    assert record["sources"]


def test_every_override_counts(desk: Desk) -> None:
    """-ot may be given more than once; the first that matches wins."""
    answer = desk.placer(
        *("estimate", "moe", "--devices", TWO, "-ts", "7,0", "--json"),
        *("-ot", r"blk\.0\.ffn=CPU", "-ot", "ffn=CUDA1"),
    )
    record = json.loads(answer.out)

    assert record["host"]["model_bytes"] > 0
    assert record["devices"][1]["model_bytes"] > record["host"]["model_bytes"]


def test_no_figure_is_cut_short_where_columns_are_few(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a narrow terminal nor where nobody says how wide it is."""
    monkeypatch.setenv("COLUMNS", "80")
    wide = desk.placer(*ON_TWO).out
    for columns in ("40", "0"):
        monkeypatch.setenv("COLUMNS", columns)
        assert desk.placer(*ON_TWO).out == wide


def test_memory_that_the_host_has_not_is_noted(desk: Desk, tmp_path: Path) -> None:
    """Devices may have room; the host is short, and the CPU's row says by how much."""
    machine = tmp_path / "small.toml"
    machine.write_text(
        '[[devices]]\nbackend = "CUDA"\ntotal_mib = 4000\n'
        "[host]\ntotal_mib = 10\nfree_mib = 8\n"
    )
    answer = desk.placer("estimate", "moe", "--machine", str(machine), "-cmoe")

    assert answer.code == 0
    assert "that are free: weights would be read from the disk" in answer.out
    (row,) = [line for line in answer.out.splitlines() if line.startswith("CPU")]
    assert row.split()[1] == "8"
    assert int(row.split()[-1]) < 0


def test_a_reader_that_goes_away_is_no_fault(desk: Desk) -> None:
    """Its pipe closed, the command ends with 141 and says nothing."""
    command = [sys.executable, "-m", "placer", *ON_TWO]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate()
    assert (process.returncode, said) == (141, b"")


def test_an_encoding_without_bars_is_no_fault(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every figure is there; what cannot be printed is a question mark."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "placer", *ON_TWO]
    ended = subprocess.run(command, capture_output=True, check=False)
    rows = [
        line for line in ended.stdout.decode("ascii").splitlines() if "CUDA" in line
    ]

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert rows[0].split()[1].startswith("?")
    assert rows[0].split()[2] == "1,800"


def test_no_arguments_is_the_help_and_bad_input(desk: Desk) -> None:
    """On standard error, line by line."""
    answer = desk.placer()

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Usage: placer [OPTIONS] COMMAND")
    assert any(line.split()[:1] == ["estimate"] for line in answer.err.splitlines())
