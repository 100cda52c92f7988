from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from placer.errors import InputError
from placer.profiles import Edit, parse_conf

PATH = Path("models.conf")


def test_profiles_come_in_the_order_of_the_file() -> None:
    """Comments and commented-out sections are not profiles."""
    conf = parse_conf(b"# [a]\n[b]\nMODEL=m\n#[c]\n[d-1_X]\nMODEL=n\n", PATH)
    assert [profile.id for profile in conf.profiles] == ["b", "d-1_X"]
    assert conf.profile("d-1_X").model == "n"


def test_a_file_without_profiles_is_one() -> None:
    """An empty file, or one of comments, holds no profile and is no error."""
    assert parse_conf(b"", PATH).profiles == ()
    assert parse_conf(b"\xef\xbb\xbf# x", PATH).profiles == ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"# c\nNAME=x\n[a]\n", "models.conf:2: 'NAME=x' stands before any section"),
        (b"[a]\n[b]\n[a]\n", "models.conf:3: [a] stands on line 1 already"),
    ],
)
def test_a_key_or_a_section_out_of_place_is_refused(data: bytes, says: str) -> None:
    """The error names the line, and the other line where there is one."""
    with pytest.raises(InputError) as caught:
        parse_conf(data, PATH)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"[glm-q4]\n[glm-q8]\n", "did you mean glm-q8"),
        (b"[a]\n[b]\n", "it has a, b"),
        (b"", None),
    ],
)
def test_a_profile_that_is_not_there_is_named(data: bytes, hint: str | None) -> None:
    """The error says what is there instead."""
    with pytest.raises(InputError, match="there is no profile 'glm-q88'") as caught:
        parse_conf(data, PATH).profile("glm-q88")
    assert caught.value.hint == hint


def test_an_edit_leaves_the_conf_that_it_was_made_from() -> None:
    """Editing is pure, and remembers what the file held when it was read."""
    before = parse_conf(b"[x]\nMODEL=m\n", PATH)
    after = before.updated("x", Edit(on=date(2026, 11, 23), speed="5"))
    assert before.data == b"[x]\nMODEL=m\n"
    assert after.data == b"[x]\nMODEL=m\nSPEED=5\n"
    assert after.original == before.data
