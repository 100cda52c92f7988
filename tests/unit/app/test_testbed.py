"""A model on its devices, launched with other flags than its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.target import Asked, Folders, resolve
from placer.app.testbed import (
    AS_IT_STANDS,
    PLANNED,
    NotMeasuredError,
    open_testbed,
    with_flags,
)
from placer.errors import InputError
from placer.testing.fake_engine import Fault, fake_engine, running

if TYPE_CHECKING:
    from pathlib import Path

OWN = ("N_GPU_LAYERS=99", "FIT=off", "EXTRA_ARGS=-b 256 -ub 64 -np 1 --no-warmup")


@pytest.fixture
def where(tmp_path: Path, moe_path: Path) -> placer.Where:
    """A fake engine, and a profile that lies on the first device."""
    conf = tmp_path / "models.conf"
    lines = ["[moe]", f"MODEL={moe_path.name}", "CTX_SIZE=256", *OWN]
    conf.write_text("\n".join([*lines[:-1], lines[-1] + " -sm none -mg 0", ""]))
    return placer.Where(
        server=fake_engine(tmp_path),
        conf=conf,
        models=moe_path.parent,
        ledger=tmp_path / "ledger.jsonl",
    )


def test_flags_behind_its_own_count(where: placer.Where) -> None:
    """Those of the workload there, all others at the end; the last of a kind counts."""
    target = resolve("moe", where.folders, Asked())
    asked = with_flags(target, ("-ctk", "q8_0", "-ub", "32", "-t", "2", "--jinja"))
    assert (asked.workload.type_k, asked.workload.ubatch) == ("q8_0", 32)
    assert asked.workload.batch == target.workload.batch
    assert asked.extra_args == ("--no-warmup", "-t", "2", "--jinja")


def test_a_flag_that_the_engine_refuses_is_refused(where: placer.Where) -> None:
    """Before anything is started."""
    target = resolve("moe", where.folders, Asked())
    with pytest.raises(InputError):
        with_flags(target, ("-ub", "many"))


def test_a_bare_model_is_as_good(moe_path: Path) -> None:
    """It has no flags of its own but what was asked."""
    target = resolve(str(moe_path), Folders(), Asked(values={"ctx": 512}))
    assert with_flags(target, ("-np", "2")).workload.ctx == 512


def test_it_is_launched_as_it_stands(where: placer.Where, tmp_path: Path) -> None:
    """With a header that says so, and nothing left running."""
    target = resolve("moe", where.folders, Asked())
    with open_testbed(target, where, what="a test") as bed:
        assert bed.placed == AS_IT_STANDS
        assert bed.placement == ("-ngl", "99", "-sm", "none", "-mg", "0")
        assert bed.header()["placement"] == list(bed.placement)
        with bed.server(tmp_path / "logs" / "a.log") as server:
            assert len(running(where.server or tmp_path)) == 1
            server.require()
            assert server.meter.lap().seconds >= 0
    assert running(where.server or tmp_path) == ()


def test_what_does_not_fit_as_it_stands_is_placed_anew(where: placer.Where) -> None:
    """A context that the first device alone cannot hold."""
    target = resolve("moe", where.folders, Asked())
    with open_testbed(target, where, what="a test") as bed:
        larger = bed.under(("-c", "262144"))
    assert larger.placed == PLANNED
    assert larger.changed == ("-c", "262144")
    assert larger.args[-len(larger.placement) :] == larger.placement


def test_a_flag_that_places_comes_last(where: placer.Where) -> None:
    """Behind the placement, so that it counts."""
    target = resolve("moe", where.folders, Asked())
    with open_testbed(target, where, what="a test") as bed:
        assert bed.under(("-sm", "row")).args[-2:] == ("-sm", "row")


def test_a_server_that_does_not_come_up_is_one_line(
    where: placer.Where, tmp_path: Path
) -> None:
    """With what to do, and the exit code of a machine that does not work."""
    folder = tmp_path / "broken"
    folder.mkdir()
    broken = placer.Where(
        server=fake_engine(folder, fault=Fault.EXIT_EARLY),
        conf=where.conf,
        models=where.models,
        ledger=where.ledger,
    )
    target = resolve("moe", broken.folders, Asked())
    with (
        open_testbed(target, broken, what="a test") as bed,
        pytest.raises(NotMeasuredError) as caught,
        bed.server(tmp_path / "x.log"),
    ):
        pytest.fail("it never comes up")
    assert caught.value.exit_code == 3
    assert "moe" in str(caught.value)
    assert "\n" not in str(caught.value)
