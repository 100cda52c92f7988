"""Whose containers are whose."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from placer.engine.docker.owner import Owner, this_process

# No process has it: Linux counts to 4194304.
NOBODY = 5_000_000


def test_a_label_names_its_owner() -> None:
    """What is written to a container is read from it by another command."""
    assert this_process().pid == os.getpid()
    owner = Owner(pid=7, created=1.25, boot="b-1", host="box:1/pid:[4026531836]")
    assert Owner.of_label(str(owner)) == owner


@pytest.mark.parametrize("label", ["", "1", "x:1.0:b:h", "1:y:b:h"])
def test_a_label_of_somebody_elses_names_none(label: str) -> None:
    """It is left alone, as nobody knows whose it is."""
    assert Owner.of_label(label) is None


def test_who_runs_is_not_gone() -> None:
    """This process, also by a clock that was set back a little."""
    me = this_process()
    assert not me.is_gone()
    assert not replace(me, created=me.created - 1).is_gone()


def test_who_ended_is_gone() -> None:
    """No such process, another with its number, or one before a restart."""
    me = this_process()
    assert replace(me, pid=NOBODY).is_gone()
    assert replace(me, created=me.created - 3600).is_gone()
    assert replace(me, boot="another").is_gone()


def test_nobody_knows_of_another_machine() -> None:
    """One daemon may serve several; their containers are theirs."""
    assert not replace(this_process(), pid=NOBODY, host="elsewhere/").is_gone()
