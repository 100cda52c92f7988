"""Journals -> documents: a page for each profile, every out-of-memory, charts."""

from placer.report.model_page import model_page
from placer.report.oom_page import oom_page
from placer.report.write import written_reports

__all__ = ["model_page", "oom_page", "written_reports"]
