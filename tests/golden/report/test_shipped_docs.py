from __future__ import annotations

from pathlib import Path

from placer.report import written_reports

ROOT = Path(__file__).parents[3]


def test_the_documents_are_what_the_journals_amount_to(tmp_path: Path) -> None:
    """docs/models/, docs/oom-results.md and their charts are the same bytes again."""
    pages = written_reports(ROOT / "search_logs", tmp_path)
    paths = [path for path in tmp_path.rglob("*.*") if path.is_file()]

    assert len(pages) == 3
    assert len(paths) > len(pages)
    for path in paths:
        shipped = ROOT / "docs" / path.relative_to(tmp_path)
        assert path.read_bytes() == shipped.read_bytes()


def test_the_demo_met_every_phase() -> None:
    """Weights, context and compute each ran out of memory for real."""
    text = (ROOT / "docs" / "oom-results.md").read_text()

    for phase in ("Weights", "Context", "Compute"):
        assert f"### {phase}" in text
