"""The documents of three searches, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from placer.report import written_reports

EXPECTED = Path(__file__).parent / "docs"
NAMES = ("models/tiny-dense.md", "models/tiny-moe.md", "oom-results.md")


def test_the_documents_are_those_that_are_expected(logs: Path, tmp_path: Path) -> None:
    """Each document, and no other, is made as it stands beside this test."""
    docs = tmp_path / "docs"
    written = written_reports(logs, docs)
    assert written == tuple(docs / name for name in NAMES)
    for name in NAMES:
        expected = (EXPECTED / name).read_text(encoding="utf-8")
        assert (docs / name).read_text(encoding="utf-8") == expected
    assert {path for path in docs.rglob("*") if path.is_file()} == set(written)


def test_written_again_they_are_the_same(logs: Path, tmp_path: Path) -> None:
    """The same bytes come out of moved journals, into an empty folder and over old."""
    docs = tmp_path / "docs"
    first = [path.read_bytes() for path in written_reports(logs, docs)]
    moved = logs.rename(tmp_path / "elsewhere")
    again = [path.read_bytes() for path in written_reports(moved, docs)]
    shutil.rmtree(docs)
    anew = [path.read_bytes() for path in written_reports(moved, docs)]
    assert first == again == anew


def test_they_name_no_folder_of_the_machine(logs: Path, tmp_path: Path) -> None:
    """Paths of flags and of the engine's log are cut down to their base names."""
    for path in written_reports(logs, tmp_path / "docs"):
        text = path.read_text(encoding="utf-8")
        assert "/home" not in text
        assert str(tmp_path) not in text
        assert "my models" not in text
