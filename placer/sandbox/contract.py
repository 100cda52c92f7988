"""What a sandbox takes, what it gives back, and what each of them promises."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from placer.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NO_FILES: Mapping[str, str | bytes] = MappingProxyType({})


class Ended(StrEnum):
    """What ended a program."""

    ITSELF = "itself"  # whatever its exit code
    TIME = "time"  # it ran, or computed, for too long
    MEMORY = "memory"  # all its processes together took too much
    OUTPUT = "output"  # it said too much
    INTERRUPTED = "interrupted"  # somebody else ended the sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may take.

    Attributes:
        wall_s: how long it may run.
        cpu_s: how long each of its processes may compute.
        memory_bytes: of each process, and of all together.
        processes: how many at once, threads counted.
        file_bytes: of each file.
        temp_bytes: of all files.
        output_bytes: of what it says.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 512 * MIB
    processes: int = 32
    file_bytes: int = 16 * MIB
    temp_bytes: int = 64 * MIB
    output_bytes: int = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ran.

    Attributes:
        exit_code: as a shell tells it, 128 and more for a signal; None where it did
            not end by itself.
        output: what it said on stdout and stderr, cut after ``output_bytes``.
        seconds: how long it ran, the sandbox included.
        ended_by: what ended it.
    """

    exit_code: int | None
    output: str
    seconds: float
    ended_by: Ended


class Sandbox(Protocol):
    """Runs programs that nobody has read; several at once if asked by several threads.

    A program sees no network, no home folder, no variable of this process and a system
    that it cannot write to; what it started and wrote is gone when it has run.
    """

    @property
    def name(self) -> str:
        """What it is, with its version or image."""

    def run(
        self,
        program: str,
        *,
        limits: Limits,
        packages: tuple[Path, ...] = (),
        files: Mapping[str, str | bytes] = NO_FILES,
    ) -> Finished:
        """Run ``python main.py`` in a folder of its own.

        Args:
            program: the text of ``main.py``.
            limits: what it may take.
            packages: folders of installed packages that it may import, read-only.
            files: further files beside ``main.py``, by name.

        Raises:
            InputError: the name of a file is more than a name.
            MachineError: the sandbox cannot be made.
        """
