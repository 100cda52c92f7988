from __future__ import annotations

import pytest

from placer.report.table import (
    code,
    code_cell,
    figure_columns,
    one_line,
    plain,
    table,
    text_columns,
)


def test_columns_line_up() -> None:
    """Text stands at the start of its column, figures at the end of theirs."""
    columns = (*text_columns("device"), *figure_columns("MiB"))
    assert table(columns, [["CUDA0", "1,204"], ["Host", "-"]]) == (
        "| device |   MiB |\n| ------ | ----: |\n| CUDA0  | 1,204 |\n| Host   |     - |"
    )


def test_a_narrow_column_is_still_a_column() -> None:
    """A rule of fewer than three dashes is none to some readers."""
    assert table(text_columns("a"), [["b"]]) == "| a   |\n| --- |\n| b   |"


def test_a_row_of_another_length_is_refused() -> None:
    """A table never loses a cell silently."""
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        table(text_columns("a", "b"), [["c"]])


def test_plain_text_stays_text() -> None:
    """Markup in a name is escaped, and line breaks and escapes are gone."""
    assert plain("a|b `c` *d* <e>\\") == r"a\|b \`c\` \*d\* \<e>" + "\\\\"
    assert plain(" RPC0[127.0.0.1:50052]\nqwen_next \x1b") == (
        "RPC0[127.0.0.1:50052] qwen_next "
    )


def test_a_surrogate_does_not_reach_the_document() -> None:
    """What cannot be encoded is dropped."""
    assert one_line("a\ud800b\tc") == "ab c"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("a|b", "`a|b`"),
        ("say `x`", "`` say `x` ``"),
        ("a ``b` c", "```a ``b` c```"),
    ],
)
def test_a_code_span_holds_any_backticks(text: str, span: str) -> None:
    """The fence is longer than any run of backticks inside."""
    assert code(text) == span


def test_a_bar_in_a_cell_is_escaped() -> None:
    """It does not end the cell, even in a code span."""
    assert code_cell("a|b") == r"`a\|b`"
