from __future__ import annotations

from pathlib import Path

import pytest

from placer.errors import InputError
from placer.profiles.lines import Kind, join, read_lines

PATH = Path("models.conf")


def test_mixed_line_ends_survive() -> None:
    """Each line keeps the end that it had, the last one its lack of one."""
    data = b"# a\r\n\n[x]\nMODEL=m\r\nKEY = v \r"
    lines = read_lines(data, PATH)
    assert [line.end for line in lines] == ["\r\n", "\n", "\n", "\r\n", ""]
    assert join(lines) == data


def test_bytes_that_are_no_utf_8_survive() -> None:
    """A file in another encoding comes back as it was."""
    data = b"\xef\xbb\xbf[x]\nNAME=caf\xe9 \xed\xa0\x80\x00\n"
    lines = read_lines(data, PATH)
    assert lines[0].kind is Kind.SECTION
    assert lines[0].name == "x"
    assert join(lines) == data


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("MODEL=a=b", "MODEL", "a=b"),
        ("\tMODEL =  a b \t", "MODEL", "a b"),
        ("MODEL=", "MODEL", ""),
        ("SPEED=1 # no comment", "SPEED", "1 # no comment"),
    ],
)
def test_a_key_is_cut_at_the_first_equals_sign(text: str, key: str, value: str) -> None:
    """Blanks around key and value are not part of them; nothing else is special."""
    line = read_lines(text.encode(), PATH)[0]
    assert (line.kind, line.name, line.value) == (Kind.KEY, key, value)


@pytest.mark.parametrize(
    ("text", "after"),
    [("\tK =  old \t", "\tK =  new \t"), ("K=", "K=new"), ("K=old\r", "K=new\r")],
)
def test_a_new_value_leaves_the_rest_of_its_line(text: str, after: str) -> None:
    """Indentation and blanks around the value stay."""
    assert read_lines(text.encode(), PATH)[0].with_value("new").text == after


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"# ok\nNAME\n", 2, "'NAME' is no KEY=VALUE"),
        (b"[a]\n=x\n", 2, "'=x' is no KEY=VALUE"),
        (b"; semicolons are no comments\n", 1, "is no KEY=VALUE"),
        (b"\n\n[bad name!]\n", 3, "'[bad name!]' is no section"),
        (b"[a] # why\n", 1, "is no section"),
        (b"[a\n", 1, "is no section"),
        (b"x" * 99, 1, "xxx...' is no KEY=VALUE"),
        (b"\xffoo\n", 1, "'\\udcffoo' is no KEY=VALUE"),
    ],
)
def test_a_line_that_is_nothing_is_refused(data: bytes, line: int, says: str) -> None:
    """The error names the file, the line and what stands there."""
    with pytest.raises(InputError) as caught:
        read_lines(data, PATH)
    assert caught.value.line == line
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"models.conf:{line}: ")


def test_utf_16_is_named() -> None:
    """A file that an editor saved as UTF-16 is told from a malformed one."""
    with pytest.raises(InputError, match="UTF-16; save it as UTF-8"):
        read_lines("[a]\n".encode("utf-16"), PATH)
