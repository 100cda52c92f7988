from __future__ import annotations

from pathlib import Path

from placer.profiles import diff, parse_conf


def difference(old: bytes, new: bytes) -> str:
    """The diff of two states of a file."""
    path = Path("folder/models.conf")
    return diff(parse_conf(old, path), parse_conf(new, path))


def test_nothing_differs_from_itself() -> None:
    """The same bytes give no text."""
    assert difference(b"[x]\n", b"[x]\n") == ""


def test_a_change_shows_as_a_unified_diff() -> None:
    """The file is named, and each line has its sign."""
    assert difference(b"[x]\nA=1\nB=2\n", b"[x]\nA=2\nB=2\n") == (
        "--- models.conf\n+++ models.conf (new)\n@@ -1,3 +1,3 @@\n"
        " [x]\n-A=1\n+A=2\n B=2\n"
    )


def test_line_ends_are_not_hidden() -> None:
    """A line that differs in its end only shows, and a missing end is named."""
    shown = difference(b"[x]\r\nA=1", b"[x]\nA=1\n")
    assert shown.endswith("-[x]\n-A=1\n\\ No newline at end of file\n+[x]\n+A=1\n")


def test_what_is_shown_can_be_printed() -> None:
    """Escape codes and bytes that are no UTF-8 cannot reach a terminal."""
    shown = difference(b"[x]\n", b"[x]\n# \x1b[31m \xff caf\xc3\xa9\t\x00\x9b\n")
    assert "+# \\x1b[31m \\xff caf\u00e9\t\\x00\\x9b\n" in shown
    shown.encode("utf-8")
