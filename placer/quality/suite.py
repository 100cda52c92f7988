"""The suites by their names, whole or in part."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.quality.problem import Problem, Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SUITES", "Problem", "Suite", "load_suite"]

# Each is read by the ``load`` of a module here.
SUITES = {
    "humaneval": "human_eval",
    "humaneval+": "eval_plus",
    "mbpp+": "eval_plus",
    "livecodebench": "live_code",
}


def load_suite(
    name: str, *, limit: int | None = None, only: Sequence[str] | None = None
) -> Suite:
    """A suite's problems, from what is on this machine.

    Args:
        name: of the suite.
        limit: so many from its beginning; None for all.
        only: these by their ids, or by what comes behind the last slash of them.

    Raises:
        InputError: no such suite or problem, or its data is not here; says the command
            that fetches it.
    """
    if name not in SUITES:
        hint = f"there are {', '.join(SUITES)}"
        raise InputError(f"there is no suite {name!r}", hint=hint)
    suite: Suite = import_module(f"placer.quality.{SUITES[name]}").load(name)
    problems = suite.problems if only is None else _chosen(suite, only)
    return replace(suite, problems=problems[:limit])


def _chosen(suite: Suite, ids: Sequence[str]) -> tuple[Problem, ...]:
    """Those of the ids, in the suite's order."""
    known = {p.id: p.id for p in suite.problems}
    known |= {p.id.rpartition("/")[2]: p.id for p in suite.problems}
    for one in ids:
        if one not in known:
            hint = f"they are named as {suite.problems[0].id} is"
            raise InputError(f"{suite.name} has no problem {one!r}", hint=hint)
    wanted = {known[one] for one in ids}
    return tuple(p for p in suite.problems if p.id in wanted)
