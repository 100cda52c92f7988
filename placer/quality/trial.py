"""A program and its tests in a sandbox, and what came of it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import InputError, MachineError
from placer.quality.problem import Checked, Grade
from placer.sandbox import Ended

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from placer.sandbox import Limits, Sandbox

ORDER = "order.json"
MOST_DETAIL = 200
SPENT = {
    Ended.MEMORY: "it took more memory than it may",
    Ended.OUTPUT: "it said more than it may",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is run.

    Attributes:
        inside: the module that runs in the sandbox, as a program of its own.
        order: what that is to do.
        limits: what it may take.
        packages: that it imports.
    """

    inside: ModuleType
    order: Mapping[str, Any]
    limits: Limits
    packages: tuple[str, ...] = ()

    def run(self, sandbox: Sandbox) -> Checked | dict[str, Any]:
        """What it reports; where it does not come to its end, what that amounts to.

        A program that leaves early, however politely, reports nothing: a report is
        known by a word that nobody can guess.

        Raises:
            MachineError: the sandbox cannot be made, or was ended by somebody.
        """
        word = secrets.token_hex(16)
        ran = sandbox.run(
            Path(self.inside.__file__ or "").read_text(encoding="utf-8"),
            limits=self.limits,
            packages=package_folders(self.packages),
            files={ORDER: json.dumps({**self.order, "word": word})},
        )
        if ran.ended_by is Ended.INTERRUPTED:
            raise MachineError("the sandbox was ended by somebody", hint="start again")
        if ran.ended_by is Ended.TIME:
            return Checked(
                grade=Grade.TIMED_OUT, detail=f"ended at {ran.seconds:.0f} s"
            )
        if ran.ended_by in SPENT:
            return Checked(grade=Grade.FAILED, detail=SPENT[ran.ended_by])
        return _report(ran.output, word) or Checked(
            grade=Grade.FAILED, detail=_untold(ran.exit_code, ran.output)
        )


def package_folders(names: tuple[str, ...]) -> tuple[Path, ...]:
    """The folders that packages lie in.

    Raises:
        InputError: one is not installed.
    """
    folders: dict[Path, None] = {}
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise InputError(f"{name} is not installed", hint=f"pip install {name}")
        folders[Path(spec.origin).parents[1]] = None
    return tuple(folders)


def _report(output: str, word: str) -> dict[str, Any] | None:
    last = output.rstrip("\n").rpartition("\n")[2]
    found, _, rest = last.partition(" ")
    if found != word:
        return None
    report: dict[str, Any] = json.loads(rest)
    return report


def _untold(exit_code: int | None, output: str) -> str:
    said = output.strip().rpartition("\n")[2][:MOST_DETAIL]
    words = f"it left with exit code {exit_code} before its tests were through"
    return f"{words}: {said}" if said else words
