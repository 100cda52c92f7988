"""Documents and charts on disk: replaced whole, the same journals the same bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.report.chart import svg
from placer.report.model_page import model_charts, model_page
from placer.report.oom_page import oom_chart, oom_page
from placer.search.records import StudyRecord, read_study, study_folders

if TYPE_CHECKING:
    from pathlib import Path


def written_reports(logs: Path, docs: Path) -> tuple[Path, ...]:
    """Write a page for each profile with a study, and the out-of-memory results.

    Each with its charts.

    Args:
        logs: the folder that ``placer optimize`` records in; it may be missing.
        docs: gets ``models/<profile>.md`` with ``models/<profile>/*.svg``, and
            ``oom-results.md`` with ``oom-results.svg``. Pages of profiles without a
            study are left as they are.

    Returns:
        The pages that were written, the models in order of their names, then the
        results.

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
    for path, text in (_charts(profiles, docs) | pages).items():
        _write(path, text)
    return tuple(pages)


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


def _studies_by_profile(logs: Path) -> dict[str, list[StudyRecord]]:
    profiles: dict[str, list[StudyRecord]] = {}
    for folder in study_folders(logs):
        profiles.setdefault(folder.parent.name, []).append(read_study(folder))
    return profiles


def _write(path: Path, text: str) -> None:
    """The file holds the text; whoever reads it meanwhile sees all of the old one."""
    # Beside the target, so that the replacement is one step on the same disk.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}",
            path=path,
            hint="free some space or make the folder writable",
        ) from None
    finally:
        with suppress(OSError):  # it has taken its place, or never came about
            temporary.unlink()
