from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from placer.errors import InputError
from placer.profiles import Conf, Edit, parse_conf

PATH = Path("models.conf")
DAY = date(2026, 11, 23)
PLACEMENT = ("-ngl", "48", "-ts", "33,15")
FACTS = {"engine": "b10434", "proof": "filled"}


def conf(text: str) -> Conf:
    """The file with this text."""
    return parse_conf(text.encode(), PATH)


def edited(text: str, edit: Edit) -> str:
    """The text after an edit of [x]."""
    return conf(text).updated("x", edit).data.decode()


def test_a_replaced_value_stays_as_a_comment() -> None:
    """The old line stands above the new one, with the day."""
    after = edited("[x]\nMODEL=m\nCTX_SIZE = 8192\n", Edit(on=DAY, ctx_size=4096))
    assert after == (
        "[x]\nMODEL=m\n# 2026-11-23 placer: was CTX_SIZE = 8192\nCTX_SIZE = 4096\n"
    )


def test_flags_that_a_key_says_go_to_their_key() -> None:
    """-ngl, -c, -fit and -fitt are written once, where nothing later overrides them."""
    after = edited(
        "[x]\nMODEL=m\nCTX_SIZE=1\nN_GPU_LAYERS=99\nEXTRA_ARGS=-c 8 -ngl 3 -fit on\n",
        Edit(
            on=DAY,
            placement=("-ngl", "48", "-fit", "0"),
            workload=("-c", "4096", "-fitt", "512"),
        ),
    )
    values = [line for line in after.splitlines() if not line.startswith("#")]
    assert values == [
        "[x]",
        "MODEL=m",
        "CTX_SIZE=4096",
        "N_GPU_LAYERS=48",
        "FIT=off",
        "FIT_TARGET=512",
        "EXTRA_ARGS=",
    ]


def test_a_key_that_is_absent_is_added_in_its_place() -> None:
    """New keys stand in the usual order, without a comment: nothing was replaced."""
    edit = Edit(
        on=DAY,
        ctx_size=4096,
        n_gpu_layers=-2,
        fit=True,
        speed="9 t/s",
        workload=("-b", "5"),
    )
    assert edited("[x]\nNAME=n\nMODEL=m\nICON=*\n\n[y]\n", edit) == (
        "[x]\nNAME=n\nMODEL=m\nCTX_SIZE=4096\nN_GPU_LAYERS=all\nFIT=on\n"
        "EXTRA_ARGS=-b 5\nSPEED=9 t/s\nICON=*\n\n[y]\n"
    )


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("[x]\nMODEL=m", "[x]\nMODEL=m\nSPEED=1"),
        ("[x]\r\nMODEL=m", "[x]\r\nMODEL=m\r\nSPEED=1"),
        ("[x]\r\nMODEL=m\n", "[x]\r\nMODEL=m\nSPEED=1\n"),
        ("[x]\nMODEL=m\r\n[y]\n", "[x]\nMODEL=m\r\nSPEED=1\r\n[y]\n"),
    ],
)
def test_an_added_line_ends_as_its_neighbour(text: str, after: str) -> None:
    """A file without a final newline still has none."""
    assert edited(text, Edit(on=DAY, speed="1")) == after


def test_comments_at_the_end_of_a_file_take_the_line_end_above() -> None:
    """A comment above the last line ends, though the last line does not."""
    assert edited("[x]\r\nMODEL=m\r\nSPEED=1", Edit(on=DAY, speed="2")) == (
        "[x]\r\nMODEL=m\r\n# 2026-11-23 placer: was SPEED=1\r\nSPEED=2"
    )


def test_the_line_that_counts_is_the_one_that_changes() -> None:
    """Of a key written twice the first stays as it is."""
    text = "[x]\nCTX_SIZE=1\nMODEL=m\nCTX_SIZE=2\n"
    after = edited(text, Edit(on=DAY, ctx_size=3))
    assert after.startswith("[x]\nCTX_SIZE=1\nMODEL=m\n#")
    assert after.endswith("\nCTX_SIZE=3\n")


@pytest.mark.parametrize(
    "line", ["FIT=disabled", "N_GPU_LAYERS=-1", "CTX_SIZE=04096", "SPEED=5  "]
)
def test_the_same_value_in_another_spelling_stays(line: str) -> None:
    """A value that means what is asked for is not rewritten."""
    text = f"[x]\nMODEL=m\nFIT=off\nN_GPU_LAYERS=auto\nCTX_SIZE=4096\nSPEED=5\n{line}\n"
    edit = Edit(on=DAY, fit=False, n_gpu_layers=-1, ctx_size=4096, speed="5")
    assert edited(text, edit) == text


def test_the_newest_three_replaced_values_stay() -> None:
    """The oldest goes; other keys, other sections and people's comments do not."""
    text = (
        "[w]\nMODEL=m\n# 2026-01-01 placer: was SPEED=w\nSPEED=1\n"
        "[x]\n# was SPEED=0 once\nMODEL=m\n# 2026-01-01 placer: was FIT=on\nSPEED=0\n"
    )
    below = "[z]\n# 2026-01-01 placer: was SPEED=z\nMODEL=m\n"
    after = conf(text + below)
    for speed in range(1, 6):
        edit = Edit(on=DAY, speed=str(speed), provenance=FACTS)
        after = after.updated("x", edit)
    facts = "# placer: engine=b10434 proof=filled values="
    head, _, tail = after.data.decode().partition(facts)
    was = [f"# 2026-11-23 placer: was SPEED={speed}\n" for speed in (2, 3, 4)]
    assert head == text.removesuffix("SPEED=0\n") + "".join(was)
    assert tail[12:] == f"\nSPEED=5\n{below}"


def test_facts_replace_the_facts_before_them() -> None:
    """There is one block of facts, where the first one was put or moved to."""
    once = edited(
        "[x]\nMODEL=m\nEXTRA_ARGS=-b 5\n", Edit(on=DAY, provenance={"a": "1"})
    )
    assert once.startswith("[x]\nMODEL=m\n# placer: a=1 values=")
    moved = "[x]\n# placer: a=1\n# mine\n# placer: b=2\nMODEL=m\nEXTRA_ARGS=-b 5\n"
    after = edited(moved, Edit(on=DAY, provenance=FACTS))
    assert after.startswith("[x]\n# placer: engine=b10434 proof=filled values=")
    assert after.endswith("\n# mine\nMODEL=m\nEXTRA_ARGS=-b 5\n")
    assert after.count("# placer:") == 1


def test_facts_hold_until_the_profile_changes() -> None:
    """The digest tells facts about these values from facts about others."""
    after = conf("[x]\nMODEL=m\nEXTRA_ARGS=-b 5\n").updated(
        "x", Edit(on=DAY, placement=PLACEMENT, provenance=FACTS)
    )
    profile = after.profile("x")
    assert profile.provenance is not None
    assert FACTS.items() <= profile.provenance.items()
    assert profile.provenance_holds is True
    by_hand = after.data.decode().replace("EXTRA_ARGS=-b 5", "EXTRA_ARGS=-b 6")
    assert conf(by_hand).profile("x").provenance_holds is False
    renamed = after.data.decode().replace("[x]\n", "[x]\nSPEED=3\nNAME=n\n")
    assert conf(renamed).profile("x").provenance_holds is True


def test_facts_that_an_edit_makes_untrue_go() -> None:
    """A new placement is not left with the proof of the old one; a new speed is."""
    text = edited("[x]\nMODEL=m\n", Edit(on=DAY, placement=PLACEMENT, provenance=FACTS))
    assert "# placer:" in edited(text, Edit(on=DAY, speed="3"))
    assert "# placer:" not in edited(text, Edit(on=DAY, placement=("-ts", "1,1")))
    assert "# placer:" not in edited(text, Edit(on=DAY, provenance={}))


def test_a_section_that_is_commented_out_below_is_left_alone() -> None:
    """Its comments of placer's are no longer placer's to change."""
    below = "\n# [old]\n# placer: a=1\n# 2026-01-01 placer: was SPEED=1\n#SPEED=2\n"
    text = f"[x]\nMODEL=m\nSPEED=1\n{below}"
    after = edited(text, Edit(on=DAY, speed="2", provenance=FACTS))
    assert after.endswith(f"\nSPEED=2\n{below}")
    assert "# placer: engine=b10434" in after


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit(on=DAY, ctx_size=-4), "'-4' is no context size"),
        (Edit(on=DAY, speed="a\nFIT=on"), "cannot stand as SPEED"),
        (Edit(on=DAY, speed=" 5"), "cannot stand as SPEED"),
        (Edit(on=DAY, placement=("-ngl", "many")), "'many' is no number of layers"),
        (Edit(on=DAY, placement=("-ot", "a b=CPU")), "cannot stand in EXTRA_ARGS"),
        (Edit(on=DAY, workload=("-ts", "1,1")), "-ts is placement, not workload"),
        (Edit(on=DAY, provenance={"values": "x"}), "placer writes by itself"),
        (
            Edit(on=DAY, n_gpu_layers=4, placement=("-ngl", "5")),
            "gives N_GPU_LAYERS as 4 and as 5",
        ),
    ],
)
def test_an_edit_that_cannot_be_written_is_refused(edit: Edit, says: str) -> None:
    """The error comes before anything is written."""
    with pytest.raises(InputError, match=says):
        edited("[x]\nMODEL=m\n", edit)


def test_a_profile_without_a_model_is_not_edited() -> None:
    """There is nothing to place; the error names the section."""
    with pytest.raises(InputError, match=r"models\.conf:1: \[x\] has no MODEL"):
        edited("[x]\nNAME=n\n", Edit(on=DAY, speed="5"))


def test_extra_args_that_cannot_be_read_are_not_edited() -> None:
    """The error names the line of what is there, not of what was to come."""
    with pytest.raises(InputError, match=r"models\.conf:3: -ts has no value"):
        edited("[x]\nMODEL=m\nEXTRA_ARGS=-ts\n", Edit(on=DAY, placement=PLACEMENT))
