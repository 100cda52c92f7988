"""Journals -> documents: a page for each profile, and every out-of-memory."""

from placer.report.model_page import model_page
from placer.report.oom_page import oom_page
from placer.report.write import written_reports

__all__ = ["model_page", "oom_page", "written_reports"]
