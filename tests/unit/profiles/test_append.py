from __future__ import annotations

from pathlib import Path

import pytest

from placer.errors import InputError
from placer.profiles import Conf, changed_profiles, parse_conf

PATH = Path("models.conf")
VALUES = {"MODEL": "m.gguf", "NAME": "Mine", "EXTRA_ARGS": "-b 512"}
SECTION = "[new]\nNAME=Mine\nMODEL=m.gguf\nEXTRA_ARGS=-b 512\n"


def conf(data: bytes) -> Conf:
    """The file with these bytes."""
    return parse_conf(data, PATH)


@pytest.mark.parametrize(
    ("before", "between"),
    [
        (b"", b""),
        (b"# mine\n", b"\n"),
        (b"# mine\n\n", b""),
        (b"[x]\nMODEL=m", b"\n\n"),
        (b"\xef\xbb\xbf", b"\n"),
        (b"[x]\nMODEL=m\n# \xff of old\n#[y]\n#MODEL=n\n", b"\n"),
    ],
)
def test_a_section_stands_behind_all_that_was(before: bytes, between: bytes) -> None:
    """A blank line before it, its keys in their usual order, and nothing moved."""
    after = conf(before).added("new", VALUES)
    assert after.data == before + between + SECTION.encode()
    assert after.original == before


def test_the_end_of_lines_is_that_of_the_file() -> None:
    """A file of another system stays one."""
    after = conf(b"[x]\r\nMODEL=m").added("new", {"MODEL": "m"}, ["why"])
    assert after.data == b"[x]\r\nMODEL=m\r\n\r\n# why\r\n[new]\r\nMODEL=m\r\n"


def test_a_profile_that_is_there_is_not_added() -> None:
    """It is named with its line."""
    with pytest.raises(InputError, match=r"models\.conf:2: \[x\] is there already"):
        conf(b"\n[x]\nMODEL=m\n").added("x", VALUES)


@pytest.mark.parametrize(
    ("profile", "values", "comment"),
    [
        ("a b", VALUES, "c"),
        ("", VALUES, "c"),
        ("a]\n[b", VALUES, "c"),
        ("a", {"MODEL": "m\nFIT=off"}, "c"),
        ("a", {"MODEL": " m"}, "c"),
        ("a", {"MODEL": "caf\udce9.gguf"}, "c"),
        ("a", VALUES, "c\n[b]"),
        ("a", VALUES, "placer: proved=2026-01-01"),
        ("a", VALUES, "2026-01-01 placer: was FIT=on"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(
    profile: str, values: dict[str, str], comment: str
) -> None:
    """No line break, no blank around a value, and no comment that states facts."""
    with pytest.raises(InputError, match="cannot"):
        conf(b"").added(profile, values, [comment])


def test_profiles_that_changed_are_named() -> None:
    """By their keys and the comments between; a comment above is nobody's."""
    old = conf(b"# a\n[x]\nMODEL=m\n# b\n[y]\n# c\nMODEL=m\n[z]\nMODEL=m\n")
    new = conf(b"# A\n[x]\nMODEL=m\n# B\n[y]\n# C\nMODEL=m\n[w]\nMODEL=m\n")
    assert changed_profiles(old, new) == ("y", "z", "w")
    assert changed_profiles(old, old) == ()
