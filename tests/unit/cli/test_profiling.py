"""``placer profiles``, ``new``, ``diff`` and ``undo --list``: what they print."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import TYPE_CHECKING

import pytest

from placer.app.study import fingerprint
from placer.gguf import read_gguf
from placer.profiles import Edit, read_conf, write_conf
from placer.testing.fake_engine import launches

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Desk

MORE = """
[bench-moe]
MODEL=moe.gguf
CTX_SIZE=10240
FIT=on

[a-profile-with-a-long-name]
MODEL=Qwen3-Coder-Next-UD-Q5_K_XL-00001-of-00003.gguf
CTX_SIZE=262144
"""


@pytest.fixture
def proved(desk: Desk) -> Desk:
    """The desk with two more profiles, and a proof that stands beside the first."""
    desk.conf.write_text(desk.conf.read_text() + MORE)
    facts = {
        "proved": "2026-11-23",
        "proof": "full",
        "engine": "10434 (7e4c0a9)",
        "strategy": "D",
        "free.Vulkan0": "12040MiB",
        "peak.Vulkan0": "10038MiB",
        "free.Vulkan1": "30MiB",
        "peak.Vulkan1": "20MiB",
        "prompt_tokens_per_s": "1310.2",
        "decode_tokens_per_s": "105.3",
        "model": fingerprint(read_gguf(desk.folder / "models" / "moe.gguf")),
    }
    edit = Edit(on=date(2026, 11, 23), provenance=facts)
    write_conf(read_conf(desk.conf).updated("moe", edit), desk.conf)
    return desk


def test_profiles_stand_in_a_narrow_table(proved: Desk) -> None:
    """80 columns hold it; a bench variant is set in, a reason stands below."""
    answer = proved.placer("profiles")
    assert (answer.code, answer.err) == (0, "")
    table, reasons = answer.out.splitlines()[:4], answer.out.splitlines()[4:]
    assert all(len(line) <= 80 for line in table)
    assert re.search(r"^moe  .* 512 +D +105\.3 +2,002 10 +2026-11-23", table[1])
    assert re.search(r"^  bench-moe .* 10,240 +fit +- +- +no *$", table[2])
    assert re.search(r"^a-profile-with-a-long-name +- +262,144 .* no model", table[3])
    assert reasons[0].startswith("a-profile-with-a-long-name: model Qwen3-")
    assert reasons[1] == (
        "models.conf: 1 proved, 1 not proved, 1 no model; engine 10434 (7e4c0a9)"
    )
    assert launches(proved.engine) == ()


def test_a_wide_table_says_more(proved: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices by name, the file, the engine, the proof."""
    monkeypatch.setenv("COLUMNS", "200")
    rows = proved.placer("profiles").out.splitlines()
    assert "1,310.2  105.3  Vulkan0 2,002, Vulkan1 10  moe.gguf" in rows[1]
    assert re.search(r"10434 \(7e4c0a9\)  full +2026-11-23", rows[1])
    assert "Qwen3-Coder-Next-UD-Q5_K_XL-00001-of-00003.gguf" in rows[3]
    assert all(len(row) <= 200 for row in rows)


def test_what_is_stale_says_why(proved: Desk) -> None:
    """Below the table, for all that it is true of."""
    proved.conf.write_text(proved.conf.read_text().replace("-ub 64", "-ub 32"))
    out = proved.placer("profiles", "--no-engine").out
    assert re.search(r"^moe .* stale *$", out, re.MULTILINE)
    assert "\nmoe: edited since\n" in out


def test_quiet_is_a_word_a_profile(proved: Desk) -> None:
    """The id, and what it is worth."""
    assert proved.placer("profiles", "-q").out == (
        "moe proved\nbench-moe not-proved\na-profile-with-a-long-name no-model\n"
    )


def test_json_has_all_that_is_known(proved: Desk) -> None:
    """Bytes and rates, and null for what is not known."""
    record = json.loads(proved.placer("profiles", "--json").out)
    moe, bench, gone = record["profiles"]
    assert (record["schema"], record["engine"]) == (1, "10434 (7e4c0a9)")
    assert (moe["profile"], moe["state"], moe["stale"]) == ("moe", "proved", [])
    assert moe["proved"]["devices"][1] == {
        "name": "Vulkan1",
        "free_bytes": 30 << 20,
        "peak_bytes": 20 << 20,
        "left_bytes": 10 << 20,
    }
    assert (bench["production"], bench["proved"]) == ("moe", None)
    assert (gone["model_bytes"], gone["state"]) == (None, "no-model")


def test_a_file_without_profiles_says_how_one_is_added(desk: Desk) -> None:
    """No empty table."""
    desk.conf.write_text("# nothing yet\n")
    out = desk.placer("profiles").out
    assert out == "models.conf has no profile; placer new adds one.\n"


def test_new_shows_what_it_adds(desk: Desk) -> None:
    """And the profile is one that the other verbs take."""
    before = desk.conf.read_text()
    dry = desk.placer("new", "mine", "moe.gguf", "-c", "512", "--dry-run")
    assert dry.out.endswith("Would write models.conf\n")
    assert desk.conf.read_text() == before
    answer = desk.placer("new", "mine", "moe.gguf", "-c", "512", "-ctv", "f16")
    assert (answer.code, answer.err) == (0, "")
    assert "+[mine]\n" in answer.out
    assert answer.out.endswith("Wrote models.conf\n")
    assert desk.conf.read_text().startswith(before)
    assert desk.placer("estimate", "mine", "--devices", "CUDA0:4000", "-q").code == 0
    names = [profile.id for profile in read_conf(desk.conf).profiles]
    assert names == ["moe", "mine"]


def test_new_adds_both_variants(desk: Desk) -> None:
    """Quietly, or as JSON."""
    args = ("new", "m", "moe.gguf", "--variants", "production,bench")
    record = json.loads(desk.placer(*args, "--dry-run", "--json").out)
    assert record["written"] is False
    assert "+[bench-m]" in record["diff"]
    assert desk.placer(*args, "-q").out == ""
    names = [profile.id for profile in read_conf(desk.conf).profiles]
    assert names == ["moe", "m", "bench-m"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("new", "moe", "moe.gguf"), "models.conf:2: [moe] is there already"),
        (("new", "m", "no.gguf"), "no.gguf was not found"),
        (("new", "m", "moe.gguf", "--variants", "x"), "'x' is no variant"),
        (("new", "m", "moe.gguf", "--variants", ""), "'' is no variant"),
        (("new", "m"), "MODEL.gguf"),
        (("diff", "no"), "no profile 'no'"),
        (("diff", "moe"), "placer optimize moe"),
        (("diff",), "nothing to undo; name a profile"),
    ],
)
def test_bad_input_ends_with_2(desk: Desk, args: tuple[str, ...], says: str) -> None:
    """One line on standard error, and models.conf as it was."""
    before = desk.conf.read_bytes()
    answer = desk.placer(*args)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert desk.conf.read_bytes() == before


def test_diff_shows_what_apply_would_change(desk: Desk) -> None:
    """And writes nothing; after apply there is no change."""
    assert desk.placer("optimize", "moe", "--dry-run", "-q").code == 0
    before = desk.conf.read_bytes()
    answer = desk.placer("diff", "moe")
    assert answer.code == 0
    assert re.search(r"^\+EXTRA_ARGS=--jinja .*-ts", answer.out, re.MULTILINE)
    assert desk.conf.read_bytes() == before
    assert json.loads(desk.placer("diff", "moe", "--json").out)["profiles"] == ["moe"]
    assert desk.placer("apply", "moe", "-q").code == 0
    assert desk.placer("diff", "moe").out == "No change.\n"


def test_diff_of_nothing_is_what_undo_takes_back(proved: Desk) -> None:
    """The last write, turned round."""
    proved.placer("new", "mine", "moe.gguf")
    out = proved.placer("diff").out
    assert "+[mine]\n" in out
    assert not re.search(r"^-(?!-)", out, re.MULTILINE)


def test_the_writes_that_can_be_taken_back_are_listed(proved: Desk) -> None:
    """The newest first, with what each changed; one that was edited says so."""
    proved.placer("new", "mine", "moe.gguf", "--variants", "production,bench")
    with proved.conf.open("a") as file:
        file.write("# by hand\n")
    first, second = proved.placer("undo", "--list").out.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"  1  {stamp}  mine, bench-mine, edited by hand since", first)
    assert re.fullmatch(rf"  2  {stamp}  moe", second)
    record = json.loads(proved.placer("undo", "--list", "--json").out)
    assert [w["profiles"] for w in record["writes"]] == [
        ["mine", "bench-mine"],
        ["moe"],
    ]
    assert [w["edited"] for w in record["writes"]] == [True, False]


def test_no_write_is_said(desk: Desk) -> None:
    """It is no error to ask."""
    answer = desk.placer("undo", "--list")
    assert answer.code == 0
    assert answer.out == (
        "placer has not written models.conf: there is nothing to undo.\n"
    )
