"""Documents and charts on disk: replaced whole, the same journals the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.report.bench_page import NAME, Benches, benches
from placer.report.chart import svg
from placer.report.engine_page import written_engines
from placer.report.model_page import model_charts, model_page
from placer.report.oom_page import oom_chart, oom_page
from placer.search.records import StudyRecord, read_study, study_folders
from placer.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

HINT = "free some space or make the folder writable"


def written_reports(logs: Path, docs: Path) -> tuple[Path, ...]:
    """Write a page for each profile with a study, and the out-of-memory results.

    Each with its charts; and the report of the benches, where there are any.

    Args:
        logs: the folder that ``placer optimize`` records in; it may be missing.
        docs: gets ``models/<profile>.md`` with ``models/<profile>/*.svg``, and
            ``oom-results.md`` with ``oom-results.svg``, and ``benchmarks/REPORT.md``
            with its charts and ``benchmarks/engines.md``. Pages of profiles without a
            study are left as they are.

    Returns:
        The pages that were written, the models in order of their names, then the
        results, then the report of the benches and what other engines changed.

    Raises:
        JournalError: a journal is damaged; nothing was written.
        InputError: a document cannot be written.
    """
    profiles = _studies_by_profile(logs)
    pages = {
        docs / "models" / f"{name}.md": model_page(name, studies)
        for name, studies in sorted(profiles.items())
    }
    pages[docs / "oom-results.md"] = oom_page(profiles)
    charts = _charts(profiles, docs)
    found = benches(logs, docs / "benchmarks" / NAME)
    if found is not None:
        pages[found.page] = found.text()
        charts |= _bench_charts(found)
    for path, text in (charts | pages).items():
        write_whole(path, text, parents=True, hint=HINT)
    engines = written_engines(logs, docs)
    return (*pages, *([engines] if engines is not None else ()))


def _charts(profiles: dict[str, list[StudyRecord]], docs: Path) -> dict[Path, str]:
    """Every chart that the pages link to."""
    charts = {
        docs / "models" / profile / f"{name}.svg": svg(chart)
        for profile, studies in sorted(profiles.items())
        for name, chart in model_charts(studies).items()
    }
    results = oom_chart(profiles)
    if results.bars:
        charts[docs / "oom-results.svg"] = svg(results)
    return charts


def _bench_charts(found: Benches) -> dict[Path, str]:
    """Those of the report of the benches."""
    return {
        found.page.with_name(name): svg(chart) for name, chart in found.charts.items()
    }


def _studies_by_profile(logs: Path) -> dict[str, list[StudyRecord]]:
    profiles: dict[str, list[StudyRecord]] = {}
    for folder in study_folders(logs):
        profiles.setdefault(folder.parent.name, []).append(read_study(folder))
    return profiles
