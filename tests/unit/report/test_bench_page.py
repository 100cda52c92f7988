from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from placer.errors import JournalError
from placer.report import written_reports
from placer.report.bench_page import (
    ALL_WHOLE,
    NO_SCORES,
    NO_SPEEDS,
    NO_SWEEPS,
    NO_WATCH,
    WATCH,
)
from placer.report.bench_speeds import NO_POWER
from placer.report.charts import EMULATED
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.report.conftest import BenchWriter

    Page = Callable[[], str]

LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)]*)\)")
REFERENCE = {
    "kind": "reference",
    "name": "cloud",
    "suite": "humaneval",
    "score": 87.2,
    "source": "https://example.com/scores_(all)",
    "day": "2026-11-01",
    "k": 1,
}


def score(mean: float, k: int = 1) -> dict[str, Any]:
    """pass@k with an interval."""
    return {
        "k": k,
        "mean": mean,
        "low": mean - 0.1,
        "high": mean + 0.1,
        "problems": 4,
        "samples": 4,
    }


def row(**changes: Any) -> dict[str, Any]:
    """What was measured at a depth, of two cards that do not tell their power."""
    figures = {
        "prefill_tokens_per_s": {"mean": 1500.0, "half_width": 0.02},
        "decode_tokens_per_s": {"mean": 48.06, "half_width": 0.013},
        "user_decode_tokens_per_s": {"mean": 48.06, "half_width": None},
        "ttft_s": {"mean": 0.3412, "half_width": None},
        "joules": None,
        "tokens_per_joule": None,
    }
    return {
        "batch": 512,
        "ubatch": 256,
        "depth": 0,
        "users": 1,
        "n": 3,
        **figures,
        "held_bytes": [100 * MIB, 28 * MIB],
        "used_bytes": [120 * MIB, None],
        "watts": [None, None],
        **changes,
    }


# Unit and kind of a measure; what is not here is a share.
MEASURES = {
    "tokens/s": ("tokens/s", "rate"),
    "vram": ("bytes", "cost"),
    "kl": ("nats", "cost"),
}


def contrast(level: str, measure: str, verdict: str, **changes: Any) -> dict[str, Any]:
    """A level of ctk beside f16."""
    unit, kind = MEASURES.get(measure, ("", "share"))
    return {
        "factor": "ctk",
        "level": level,
        "base": "f16",
        "measure": measure,
        "unit": unit,
        "kind": kind,
        "difference": 0.021,
        "low": 0.018,
        "high": 0.024,
        "p": 0.001,
        "units": 40,
        "verdict": verdict,
        "repeats_needed": None,
        **changes,
    }


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in text.splitlines() if re.match(r"\| [^-]", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture
def page(benches: BenchWriter, tmp_path: Path) -> Page:
    """Writes the reports and reads that of the benches."""

    def read() -> str:
        *_, path = written_reports(benches.logs, tmp_path / "docs")
        assert path == tmp_path / "docs" / "benchmarks" / "REPORT.md"
        return path.read_text(encoding="utf-8")

    return read


def refer(benches: BenchWriter, **changes: Any) -> None:
    """Put a reference on record."""
    with (benches.logs / "references.jsonl").open("a") as file:
        file.write(json.dumps(REFERENCE | changes) + "\n")


def test_without_a_bench_there_is_no_report(
    benches: BenchWriter, tmp_path: Path
) -> None:
    """Whoever only searches gets no empty page."""
    (path,) = written_reports(benches.logs, tmp_path / "docs")
    assert path.name == "oom-results.md"
    assert not (tmp_path / "docs" / "benchmarks").exists()


def test_what_is_not_there_is_said(benches: BenchWriter, page: Page) -> None:
    """Each chapter names the command that would fill it."""
    benches.write("quality", ended=False)
    text = page()
    for sentence in (NO_SCORES, NO_SPEEDS, NO_SWEEPS):
        assert sentence in text
    assert "](scores.svg)" not in text


def test_models_are_ranked_with_references_among_them(
    benches: BenchWriter, page: Page
) -> None:
    """The best first; a reference is called one and leads to its source."""
    for name, mean in (("a", 0.5), ("b", 0.95), ("c", 0.75)):
        benches.write("quality", profile=name, end={"scores": [score(mean)]})
    refer(benches)
    rows = rows_of(page())[1:]
    assert [one[0] for one in rows] == ["b", "cloud (reference)", "c", "a"]
    assert rows[1][1] == "87.2 %"
    assert rows[1][-1] == "[source](https://example.com/scores_%28all%29)"
    assert rows[2][-1].startswith("[20261123-140211](")
    assert rows[2][1:3] == ["75.0 %", "65.0 % to 85.0 %"]


def test_suites_have_tables_of_their_own(benches: BenchWriter, page: Page) -> None:
    """Scores of two suites are not to be compared."""
    benches.write("quality")
    benches.write("quality", suite="mbpp+")
    refer(benches, suite="livecodebench", k=10)
    text = page()
    heads = re.findall("^### (.*)$", text, re.MULTILINE)
    assert heads == ["humaneval", "livecodebench", "mbpp+"]
    assert "pass@10 87.2 %" in text


def test_the_newest_whole_run_counts(benches: BenchWriter, page: Page) -> None:
    """Of the same problems, sampling and number of answers; others stand beside it."""
    benches.write("quality", end={"scores": [score(0.11)]})
    benches.write("quality", end={"scores": [score(0.22)]})
    benches.write("quality", stopped="interrupted", end={"scores": [score(0.33)]})
    benches.write("quality", problems=["HumanEval/0"], end={"scores": [score(0.44)]})
    sampling = {"temperature": 0.8, "top_p": 0.95}
    end = {"scores": [score(0.55), score(0.66, k=5)], "base": [score(0.77)]}
    benches.write("quality", sampling=sampling, samples=5, end=end)
    text = page()
    scores = [cells[1] for cells in rows_of(text) if cells[0] == "m"]
    assert scores[:3] == ["55.0 %", "44.0 %", "22.0 %"]
    assert "pass@5 66.0 %, pass@1 of its base tests 77.0 %" in text
    assert "5 answers, temperature 0.8, top_p 0.95" in text
    assert "| greedy " in text


def test_answers_that_were_cut_off_are_counted(
    benches: BenchWriter, page: Page
) -> None:
    """Of all answers; the speed of emulated devices is not shown."""
    benches.write("quality", emulated=True, end={"truncated": 2})
    (cells,) = rows_of(page())[1:]
    assert "2 of 4" in cells
    assert "128" in cells
    assert "61.2" not in cells
    assert "10434 (7e4c0a9), emulated" in cells


def test_every_link_leads_to_its_record(
    benches: BenchWriter, page: Page, tmp_path: Path
) -> None:
    """From where the page lies, blanks in names and all."""
    paths = {benches.write(k, profile="a b") for k in ("quality", "speed", "sweep")}
    paths |= {benches.write("quality", profile="a b", ended=False)}
    folder = tmp_path / "docs" / "benchmarks"
    found = {folder / unquote(link) for link in LINK.findall(page())}
    assert {path.resolve() for path in found} == {path.resolve() for path in paths}


def test_speeds_stand_with_what_devices_held(benches: BenchWriter, page: Page) -> None:
    """By depth, with half widths; no power where nobody tells it."""
    rows = [row(), row(depth=256, users=2, held_bytes=None)]
    benches.write("speed", end={"rows": rows})
    text = page()
    first, second = rows_of(text)[1:]
    rates = ["1,500.0 ±2.0 %", "48.1 ±1.3 %", "48.1", "0.341"]
    assert first == ["512", "256", "0", "1", *rates, "100", "28"]
    assert second[2:4] + second[-2:] == ["256", "2", "-", "-"]
    assert NO_POWER in text
    assert EMULATED not in text


def test_power_is_shown_where_it_is_told(benches: BenchWriter, page: Page) -> None:
    """All devices that tell together, and tokens per joule."""
    told = {"mean": 0.1234, "half_width": 0.05}
    rows = [row(watts=[220.4, 100.2], tokens_per_joule=told), row(depth=256)]
    benches.write("speed", end={"rows": rows})
    text = page()
    first, second = rows_of(text)[1:]
    assert first[-2:] == ["321", "0.123 ±5.0 %"]
    assert second[-2:] == ["-", "-"]
    assert NO_POWER not in text


def test_what_was_not_measured_is_named(benches: BenchWriter, page: Page) -> None:
    """Batches that did not fit, with the reason, once each."""
    unfit = ("unfit", {"settings": {"batch": 4096, "ubatch": 512}, "why": "no | room"})
    benches.write("speed", unfit, unfit, emulated=True, end={"rows": [row()]})
    text = page()
    assert text.count("`-b 4096 -ub 512` was not measured: no \\| room") == 1
    assert EMULATED in text


def test_the_cost_of_a_setting_is_told_in_words(
    benches: BenchWriter, page: Page
) -> None:
    """A line a setting: what it costs and gains, and in what nothing was seen."""
    vram = {"difference": -512 * MIB, "low": -512 * MIB, "high": -512 * MIB}
    unknown = {"difference": None, "low": None, "high": None}
    nothing = {"difference": 0.001, "low": -0.001}
    contrasts = [
        contrast("q8_0", "vram", "better", **vram),
        contrast("q4_0", "vram", "better", **vram),
        contrast("q4_0", "kl", "worse"),
        contrast("q8_0", "kl", "no difference seen", **nothing),
        contrast("q8_0", "agreement", "alike", **unknown),
        contrast("q8_0", "tokens/s", "too few", **unknown),
        contrast("q4_0", "pass@1", "worse", difference=-0.03, low=-0.05, high=-0.01),
    ]
    best = {"kl": {"ctk": "f16"}, "vram": {"ctk": "q4_0"}}
    unfit = ("unfit", {"settings": {"ctk": "q1"}, "why": "refused"})
    benches.write("sweep", unfit, end={"contrasts": contrasts, "best": best})
    lines = page().splitlines()
    q4, q8, q1 = [line for line in lines if line.startswith("- ")]
    assert q4.removeprefix("- `ctk=q4_0` beside f16: ").split("; ") == [
        "kl +0.021 nats (+0.018 nats to +0.024 nats), worse",
        "pass@1 -3.0 points (-5.0 points to -1.0 points), worse",
        "vram -512 MiB, better.",
    ]
    assert q8.removeprefix("- `ctk=q8_0` beside f16: ").split(". ") == [
        "vram -512 MiB, better",
        "No difference seen in kl (-0.001 nats to +0.024 nats)",
        "Alike in agreement",
        "Too few to tell of tokens/s.",
    ]
    assert q1 == "- `ctk=q1` does not run: refused"
    assert "To take by kl `ctk=f16`, the base; by vram `ctk=q4_0`." in lines


def test_runs_that_were_broken_off_are_named(benches: BenchWriter, page: Page) -> None:
    """Why, and how much of them is on record; they count for nothing else."""
    graded = ("graded", {"problem": "HumanEval/0", "sample": 0, "grade": "passed"})
    benches.write("quality", graded, graded, stopped="interrupted")
    benches.write("sweep", ended=False)
    text = page()
    assert ALL_WHOLE not in text
    found = [[cells[2], *cells[-2:]] for cells in rows_of(text)[1:]]
    assert found == [
        ["`placer bench quality`", "interrupted", "2"],
        ["`placer sweep`", "killed", "0"],
    ]


def test_whole_runs_alone_need_no_such_table(benches: BenchWriter, page: Page) -> None:
    """That all are whole is said."""
    benches.write("quality")
    assert ALL_WHOLE in page()


def test_the_page_of_the_engines_is_linked(
    benches: BenchWriter, tmp_path: Path
) -> None:
    """It is written with the report where there is a smoke test, and not else."""
    docs = tmp_path / "docs"
    benches.write("smoke", ended=False)
    assert NO_WATCH in written_reports(benches.logs, docs)[-1].read_text()
    benches.write("smoke")
    *_, report, engines = written_reports(benches.logs, docs)
    assert engines == docs / "benchmarks" / "engines.md"
    assert WATCH in report.read_text()
    assert NO_WATCH not in report.read_text()


def test_charts_are_beside_the_page(
    benches: BenchWriter, page: Page, tmp_path: Path
) -> None:
    """Scores with whiskers and references; speeds and memory by group."""
    benches.write("quality")
    refer(benches)
    benches.write("speed", end={"rows": [row()]})
    text = page()
    folder = tmp_path / "docs" / "benchmarks"
    names = {path.name for path in folder.iterdir()}
    assert names == {"REPORT.md", "scores.svg", "written.svg", "read.svg", "memory.svg"}
    assert all(f"]({name})" in text for name in names - {"REPORT.md"})
    scores = (folder / "scores.svg").read_text()
    assert "cloud (reference) 87.2 %" in scores
    assert "m 75.0 % (50.0 % to 90.0 %)" in scores
    assert "Vulkan" not in (folder / "memory.svg").read_text()
    assert "-b 512 -ub 256, CUDA0 100" in (folder / "memory.svg").read_text()


def test_the_same_records_are_the_same_bytes(
    benches: BenchWriter, page: Page, tmp_path: Path
) -> None:
    """Written again, and over another page."""
    benches.write("quality")
    benches.write("speed", end={"rows": [row()]})
    before = page()
    assert page() == before
    shutil.rmtree(tmp_path / "docs")
    assert page() == before


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("quality", {"scores": [{"k": 1}]}),
        ("speed", {"rows": [{"batch": 512}]}),
        ("sweep", {"contrasts": [{"factor": "ctk"}]}),
    ],
)
def test_an_odd_record_changes_no_document(
    benches: BenchWriter, tmp_path: Path, kind: str, end: dict[str, Any]
) -> None:
    """It is named in a line, exit code 5, and nothing is written."""
    path = benches.write(kind, end=end)
    with pytest.raises(JournalError, match="is not what placer writes") as error:
        written_reports(benches.logs, tmp_path / "docs")
    assert error.value.exit_code == 5
    assert os.fspath(path) in str(error.value)
    assert not (tmp_path / "docs").exists()
