"""The documents of three searches, byte for byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from placer.report import written_reports

LINK = re.compile(r"!\[[^]]*\]\(([^)]*)\)")
EXPECTED = Path(__file__).parent / "docs"
BENCHES = Path(__file__).parent / "benches"
NAMES = ("models/tiny-dense.md", "models/tiny-moe.md", "oom-results.md")
CHARTS = (
    "models/tiny-dense/launches.svg",
    "models/tiny-moe/launches.svg",
    "models/tiny-moe/memory.svg",
    "models/tiny-moe/read.svg",
    "models/tiny-moe/written.svg",
    "oom-results.svg",
)


def test_the_documents_are_those_that_are_expected(logs: Path, tmp_path: Path) -> None:
    """Each document and chart, and no other, is made as it stands beside this test."""
    docs = tmp_path / "docs"
    written = written_reports(logs, docs)
    assert written == tuple(docs / name for name in NAMES)
    for name in (*NAMES, *CHARTS):
        expected = (EXPECTED / name).read_text(encoding="utf-8")
        assert (docs / name).read_text(encoding="utf-8") == expected
    files = {path for path in docs.rglob("*") if path.is_file()}
    assert files == {docs / name for name in (*NAMES, *CHARTS)}


def test_every_link_to_a_chart_leads_to_one(logs: Path, tmp_path: Path) -> None:
    """No page shows a chart that is not there, and no chart is without a page."""
    docs = tmp_path / "docs"
    linked = {
        page.parent / link
        for page in written_reports(logs, docs)
        for link in LINK.findall(page.read_text(encoding="utf-8"))
    }
    assert linked == {docs / name for name in CHARTS}


def test_written_again_they_are_the_same(logs: Path, tmp_path: Path) -> None:
    """The same bytes come out of moved journals, into an empty folder and over old."""
    docs = tmp_path / "docs"

    def bytes_of(folder: Path) -> dict[Path, bytes]:
        written_reports(folder, docs)
        return {path: path.read_bytes() for path in docs.rglob("*.*")}

    first = bytes_of(logs)
    moved = logs.rename(tmp_path / "elsewhere")
    again = bytes_of(moved)
    shutil.rmtree(docs)
    assert first == again == bytes_of(moved)


def test_they_name_no_folder_of_the_machine(logs: Path, tmp_path: Path) -> None:
    """Paths of flags and of the engine's log are cut down to their base names."""
    docs = tmp_path / "docs"
    written_reports(logs, docs)
    for path in docs.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert "/home" not in text
        assert str(tmp_path) not in text
        assert "my models" not in text


def test_the_report_of_the_benches_is_what_is_expected(tmp_path: Path) -> None:
    """Of the journals beside this test, its charts too, and nothing else is made."""
    shutil.copytree(BENCHES / "search_logs", tmp_path / "search_logs")
    *_, page = written_reports(tmp_path / "search_logs", tmp_path / "docs")
    folder = BENCHES / "docs" / "benchmarks"
    made = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    assert made == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert str(tmp_path) not in page.read_text(encoding="utf-8")
