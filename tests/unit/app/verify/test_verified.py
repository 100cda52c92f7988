"""What models.conf says, launched again and held to its record."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app.compared import Kind, Tolerance
from placer.app.target import Asked, resolve
from placer.app.told import told
from placer.app.verified import Status, Verification, Verified
from placer.errors import (
    InputError,
    MachineError,
)
from placer.search.journal import FILE_NAME
from placer.search.records import study_folders
from placer.testing.fake_engine import Fault, launches

if TYPE_CHECKING:
    from tests.unit.app.verify.conftest import Desk


def kinds(found: Verification) -> dict[str, Kind | None]:
    """What became of each figure."""
    return {f"{f.name} {f.device or ''}".strip(): f.kind for f in found.figures}


def test_the_same_engine_says_the_same_twice(desk: Desk) -> None:
    """And each time it is one launch, and evidence of its own."""
    desk.optimize()
    before = desk.n_launches()
    found = [desk.verify() for _ in range(2)]

    assert [one.status for one in found] == [Status.SAME] * 2
    assert kinds(found[0]) == dict.fromkeys(
        (
            "memory_bytes Vulkan0",
            "memory_bytes Vulkan1",
            "decode_tokens_per_s",
            "prompt_tokens_per_s",
            "prompt_graph_splits",
            "token_graph_splits",
        ),
        Kind.SAME,
    )
    assert Verified(profiles=tuple(found)).exit_code == 0
    assert desk.n_launches() == before + 2
    for journal in desk.journals():
        records = [record["kind"] for record in journal]
        assert records == ["verify", "launching", "trial", "end"]
        assert journal[-1]["status"] == "same"
    assert len(desk.journals()) == 2


def test_an_engine_that_takes_more_memory_is_worse(desk: Desk) -> None:
    """By the device that holds more; within the tolerance it is no difference."""
    desk.optimize()
    desk.engine(compute_factor=4.0)
    tight = replace(desk.loose, tolerance=Tolerance(share=0.95, memory_bytes=0))
    found = desk.verify(tight)

    assert found.status is Status.WORSE
    worse = [f for f in found.figures if f.kind is Kind.WORSE]
    assert {f.name for f in worse} == {"memory_bytes"}
    assert all((f.now or 0) > (f.recorded or 0) for f in worse)
    assert Verified(profiles=(found,)).exit_code == 4
    assert desk.verify().status is Status.SAME


def test_a_slower_engine_is_worse_and_was_measured_twice(desk: Desk) -> None:
    """Memory is as it was."""
    desk.optimize()
    before = desk.n_launches()
    desk.engine(fault=Fault.SLOW)
    found = desk.verify()

    assert found.status is Status.WORSE
    assert kinds(found)["decode_tokens_per_s"] is Kind.WORSE
    assert kinds(found)["memory_bytes Vulkan0"] is Kind.SAME
    assert desk.n_launches() == before + 2
    assert [t["number"] for t in desk.journals()[0] if t["kind"] == "trial"] == [1, 2]


def test_one_slow_measurement_is_none(desk: Desk) -> None:
    """What is slower is launched once more before it counts."""
    desk.optimize()
    desk.engine(fault=Fault.SLOW, fault_after=desk.n_launches(), fault_times=1)
    assert desk.verify().status is Status.SAME
    trials = [r for r in desk.journals()[0] if r["kind"] == "trial"]
    assert len(trials) == 2
    assert trials[0]["decode_tokens_per_s"] < 30 < trials[1]["decode_tokens_per_s"]


def test_a_faster_engine_is_better(desk: Desk) -> None:
    """And nothing is wrong with that."""
    desk.engine(fault=Fault.SLOW)
    desk.optimize()
    desk.engine()
    found = desk.verify(app.VerifyOptions(tolerance=Tolerance(share=0.5)))
    assert found.status is Status.BETTER
    assert Verified(profiles=(found,)).exit_code == 0


def test_what_fits_no_more_is_said_with_the_device(desk: Desk) -> None:
    """No figure of a launch that failed is compared."""
    desk.optimize()
    desk.engine(overhead_mib={"Vulkan0": 99})
    found = desk.verify()
    assert found.status is Status.DOES_NOT_FIT
    assert found.verdict is not None
    assert found.verdict.device == "Vulkan0"
    assert found.figures == ()
    assert Verified(profiles=(found,)).exit_code == 4


def test_less_free_memory_explains_what_fits_no_more(desk: Desk) -> None:
    """The device had less free than when it was recorded."""
    desk.optimize()
    desk.engine(devices={"Vulkan0": 5, "Vulkan1": 100})
    found = desk.verify()
    assert found.status is Status.DOES_NOT_FIT
    assert "Vulkan0 had 5 MiB free, 100 when recorded" in found.notes


def test_an_engine_that_dies_has_regressed(desk: Desk) -> None:
    """Though it says nothing about size."""
    desk.optimize()
    desk.engine(fault=Fault.EXIT_EARLY)
    found = desk.verify()
    assert found.status is Status.FAILED
    assert Verified(profiles=(found,)).exit_code == 4


def test_a_taken_port_is_tried_again(desk: Desk) -> None:
    """As a search does."""
    desk.optimize()
    desk.engine(fault=Fault.PORT_TAKEN, fault_after=desk.n_launches(), fault_times=1)
    assert desk.verify().status is Status.SAME


def test_a_placement_without_a_record_is_no_regression(desk: Desk) -> None:
    """Its figures are shown; a search of another placement is none of it."""
    found = desk.verify()
    assert found.status is Status.NO_RECORD
    assert found.reason == f"no search of it under {desk.where.logs}"
    assert all(f.recorded is None and f.kind is None for f in found.figures)
    assert {f.name for f in found.figures if f.now} >= {
        "memory_bytes",
        "decode_tokens_per_s",
    }
    assert Verified(profiles=(found,)).exit_code == 0


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (("CTX_SIZE=1024", "CTX_SIZE=512"), "context, batch or cache type"),
        (("-ub 64", "-ub 32"), "context, batch or cache type"),
        (("-np 1", "-np 1 -ctk q8_0"), "context, batch or cache type"),
        (("N_GPU_LAYERS=5", "N_GPU_LAYERS=4"), "placement"),
    ],
)
def test_a_search_of_something_else_is_no_record(
    desk: Desk, change: tuple[str, str], other: str
) -> None:
    """The reason says in what it differs."""
    study = desk.optimize().study
    conf = desk.where.folders.conf_path
    desk.write(conf.read_text().replace(*change))
    found = desk.verify()
    assert found.status is Status.NO_RECORD
    name = study.folder.name
    assert found.reason == f"the newest search, {name}, was of another {other}"


def test_a_comment_is_a_record_too(desk: Desk) -> None:
    """Speeds are held to what stands beside the profile when the search is gone."""
    desk.optimize()
    shutil.rmtree(desk.where.logs)
    found = desk.verify()
    assert found.status is Status.SAME
    assert kinds(found)["decode_tokens_per_s"] is Kind.SAME
    assert kinds(found)["prompt_graph_splits"] is None
    assert found.recorded is not None
    assert found.recorded.folder == desk.where.folders.conf_path
    text = desk.where.folders.conf_path.read_text()
    desk.write(text.replace("decode_tokens_per_s=", "decode_tokens_per_s=9999"))
    assert desk.verify().status is Status.WORSE


def test_a_comment_about_something_else_is_no_record(desk: Desk) -> None:
    """Another profile, another model or device, or a figure that nobody can read."""
    desk.optimize()
    text = desk.where.folders.conf_path.read_text()
    with desk.where.rig() as rig:
        for was, now in (
            (" -np 1", " -np 2"),
            ("proof=full", "proof=half"),
            ("free.Vulkan1=100MiB", "free.Vulkan1=much"),
            ("free.Vulkan1=100MiB", "free.Vulkan2=100MiB"),
            ("model=", "mode="),
        ):
            assert was in text
            desk.write(text.replace(was, now))
            target = resolve("tiny", desk.where.folders, Asked())
            assert told(target, rig.machine) is None
        desk.write(text)
        assert told(resolve("tiny", desk.where.folders, Asked()), rig.machine)


def test_other_devices_are_no_record(desk: Desk) -> None:
    """Memory and speed of one card say nothing of another."""
    desk.optimize()
    desk.engine(devices={"CUDA0": 100, "CUDA1": 100})
    assert "another set of devices" in (desk.verify().reason or "")


def test_a_flag_that_places_nothing_is_a_note(desk: Desk) -> None:
    """It may be what made the difference."""
    desk.optimize()
    conf = desk.where.folders.conf_path
    desk.write(conf.read_text().replace("--jinja", "--no-warmup"))
    found = desk.verify()
    assert found.status is Status.SAME
    assert found.notes == ("other flags: --jinja when recorded, --no-warmup now",)


def test_the_launch_is_the_profile_as_it_stands(desk: Desk) -> None:
    """Its own -ot, its own flags, and nothing left to the engine."""
    found = desk.verify()
    assert found.seen is not None
    args = launches(desk.folder / "llama-server")[-1].args
    pattern = r"blk\.[23]\..*exps=CPU"
    at = args.index("-ngl")
    assert args[at : at + 6] == ("-ngl", "99", "-ts", "3,2", "-ot", pattern)
    assert args[at + 6 : at + 8] == ("--fit", "off")
    assert "--jinja" in args[:at]
    assert found.seen.trials[0]["strategy"] == "D"
    # Three expert tensors in each of the two layers that keep theirs.
    assert found.seen.trials[0]["kept"] == [6, 0]


@pytest.mark.parametrize(
    "broken",
    [
        "MODEL=moe.gguf\nFIT=on\n",
        "MODEL=moe.gguf\n",
        "MODEL=moe.gguf\nN_GPU_LAYERS=auto\n",
        "MODEL=moe.gguf\nN_GPU_LAYERS=9\nEXTRA_ARGS=-sm row\n",
        "MODEL=moe.gguf\nN_GPU_LAYERS=9\nEXTRA_ARGS=--threads=4\n",
        "MODEL=moe.gguf\nN_GPU_LAYERS=9\nEXTRA_ARGS=-ot exps=CUDA7\n",
        "MODEL=gone.gguf\nN_GPU_LAYERS=9\n",
        "N_GPU_LAYERS=9\n",
    ],
)
def test_what_cannot_be_verified_is_named_and_the_others_go_on(
    desk: Desk, broken: str
) -> None:
    """One line each, and an exit code that tells."""
    desk.write(f"[odd]\n{broken}{desk.conf}")
    result = app.verify(["odd", "tiny"], desk.where, desk.loose)
    odd, tiny = result.profiles
    assert odd.status is Status.NOT_VERIFIED
    assert "\n" not in (odd.reason or "\n")
    assert tiny.status is Status.NO_RECORD
    assert result.exit_code == 2
    assert not (desk.where.logs / "odd").exists()


def test_a_regression_outweighs_what_was_not_verified(desk: Desk) -> None:
    """Exit code 4 whatever else there is."""
    desk.write(f"[odd]\nMODEL=moe.gguf\n{desk.conf}")
    desk.engine(overhead_mib={"Vulkan0": 99})
    assert app.verify(["odd", "tiny"], desk.where, desk.loose).exit_code == 4


def test_a_damaged_record_is_of_one_profile(desk: Desk) -> None:
    """It is named, nothing is launched; a copy of the profile has its comment."""
    desk.optimize()
    text = desk.where.folders.conf_path.read_text()
    desk.write(text + text.replace("[tiny]", "[other]"))
    (folder,) = study_folders(desk.where.logs, "tiny")
    (folder / FILE_NAME).write_text("no json\n")
    result = app.verify(["tiny", "other"], desk.where, desk.loose)
    assert [p.status for p in result.profiles] == [Status.NOT_VERIFIED, Status.SAME]
    assert result.exit_code == 5


def test_all_are_those_whose_model_is_there(desk: Desk) -> None:
    """The others are named, and count for nothing."""
    desk.write(f"[gone]\nMODEL=gone.gguf\n[none]\nNAME=x\n{desk.conf}")
    result = app.verify(None, desk.where, desk.loose)
    assert [(p.name, p.status) for p in result.profiles] == [
        ("gone", Status.SKIPPED),
        ("none", Status.SKIPPED),
        ("tiny", Status.NO_RECORD),
    ]
    assert "gone.gguf was not found" in (result.profiles[0].reason or "")
    assert result.exit_code == 0


def test_none_whose_model_is_there_is_an_error(desk: Desk) -> None:
    """Nothing verified must not look like all well."""
    desk.write("[gone]\nMODEL=gone.gguf\n")
    with pytest.raises(InputError, match="no profile whose model is there"):
        app.verify(None, desk.where)


def test_a_bad_name_is_known_before_the_first_launch(desk: Desk) -> None:
    """However late it stands."""
    with pytest.raises(InputError, match="no profile 'tinny'"):
        app.verify(["tiny", "tinny"], desk.where)
    assert desk.n_launches() == 0


def test_no_engine_is_an_error(desk: Desk) -> None:
    """Of the machine, not of each profile."""
    where = replace(desk.where, server=desk.folder / "nowhere")
    with pytest.raises(MachineError, match="no such program"):
        app.verify(["tiny"], where)
