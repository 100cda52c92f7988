from __future__ import annotations

from datetime import date

import pytest

from placer.errors import InputError
from placer.profiles.provenance import (
    fact_lines,
    is_fact_line,
    read_facts,
    was_key,
    was_line,
)


def test_facts_are_written_and_read_back() -> None:
    """Bare values stay readable; any other is a JSON string."""
    facts = {
        "engine": "b10434",
        "headroom.CUDA0": "812MiB",
        "device": 'NVIDIA "RTX" 4090\\x',
        "note": "über\n\x00\udcff",
        "none": "",
        "rpc": "RPC0[127.0.0.1:50052]=x#y",
    }
    lines = fact_lines(facts)
    assert read_facts(lines) == facts
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert all(is_fact_line(line) for line in lines)


def test_facts_wrap_at_88_columns() -> None:
    """A line is never longer than 88 columns unless one fact is."""
    facts = {f"fact{i}": "x" * 30 for i in range(9)} | {"long": "y" * 200}
    lengths = [len(line) for line in fact_lines(facts)]
    assert max(lengths[:-1]) <= 88
    assert len(lengths) == 6


@pytest.mark.parametrize(
    "text",
    [
        "# placer: this split was too slow for me",
        "# placer: ",
        "# placer: a=b ",
        "# placer: a=b and more",
        "# placer:a=b",
        "#placer: a=b",
        "## placer: a=b",
        '# placer: a="open',
        '# placer: a="bad \\q"',
        "# placer: 1a=b",
        "# Placer: a=b",
    ],
)
def test_a_humans_comment_is_no_fact(text: str) -> None:
    """Only the exact grammar makes a comment placer's."""
    assert not is_fact_line(text)
    assert read_facts([text]) is None


def test_a_replaced_value_names_its_key() -> None:
    """The comment that keeps a replaced line is found again by its key."""
    line = was_line("EXTRA_ARGS = -ot a=b", date(2026, 11, 23))
    assert line == "# 2026-11-23 placer: was EXTRA_ARGS = -ot a=b"
    assert was_key(line) == "EXTRA_ARGS"


@pytest.mark.parametrize(
    "text",
    [
        "# 2026-11-23 was EXTRA_ARGS=x",
        "# 2026-11-23 placer: was better before",
        "# yesterday placer: was EXTRA_ARGS=x",
        "# EXTRA_ARGS=x",
    ],
)
def test_a_humans_comment_keeps_no_value(text: str) -> None:
    """Only the exact grammar makes a comment placer's."""
    assert was_key(text) is None


def test_a_name_that_is_none_is_refused() -> None:
    """A fact that could not be read back is not written."""
    with pytest.raises(InputError, match="cannot name a fact"):
        fact_lines({"free memory": "1"})
