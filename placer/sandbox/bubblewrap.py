"""Programs in namespaces of their own, by ``bwrap``."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import MachineError
from placer.sandbox.attend import Attendant
from placer.sandbox.contract import NO_FILES, Ended, Finished
from placer.sandbox.ending import conclude
from placer.sandbox.first import FirstProcess
from placer.sandbox.inside import STARTED
from placer.sandbox.order import (
    first_program,
    make_order,
    package_paths,
    process_limits,
)
from placer.sandbox.sight import is_root, sight
from placer.sandbox.syscalls import syscall_filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placer.sandbox.contract import Limits

INSTALL = "apt-get install bubblewrap"
ASK_TIMEOUT_S = 10
TOLD_WITHIN_S = 10.0
# Root is bound by no number of processes, so it becomes a user that nobody is, and no
# other run. These numbers are given to no user and no container.
UNUSED_UIDS = range(0x7000_0000, 0x7FFF_FFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap:
    """A sandbox of ``bwrap``.

    Attributes:
        program: where it is.
        name: what it says of itself: with its version.
        python: the Python that runs programs: this one, without its packages.
        syscalls: the filter.
    """

    program: str
    name: str
    python: Path
    syscalls: bytes

    def run(
        self,
        program: str,
        *,
        limits: Limits,
        packages: tuple[Path, ...] = (),
        files: Mapping[str, str | bytes] = NO_FILES,
    ) -> Finished:
        """Run ``python main.py`` in a folder of its own.

        Raises:
            InputError: the name of a file is more than a name.
            MachineError: the sandbox cannot be made.
        """
        inside = package_paths(packages)
        # bwrap's own process in there counts where it is the same user's.
        most = limits.processes + (not is_root())
        order = make_order(
            program,
            files,
            limits=process_limits(limits) | {"RLIMIT_NPROC": (most, most)},
            packages=list(inside),
            uid=random.choice(UNUSED_UIDS) if is_root() else None,  # noqa: S311
        )
        started = time.monotonic()
        options = sight(limits, python=self.python, packages=inside)
        said, ended, code = self._attended(options, order, limits)
        return conclude(
            said,
            code=code,
            ended=ended,
            seconds=time.monotonic() - started,
            limits=limits,
            sandbox=self.name,
        )

    def _attended(
        self, options: Sequence[str], order: bytes, limits: Limits
    ) -> tuple[bytes, Ended, int]:
        """What it said, by what it was ended, and its exit code."""
        with self._start(options) as (child, first):
            attendant = Attendant(
                child,
                order if first.is_held else b"",
                most_bytes=len(STARTED) + limits.output_bytes,
            )
            try:
                ended = attendant.attend(limits, first.memory)
            finally:
                first.end()
            attendant.hear_out()
            code = child.wait()
        if ended is Ended.ITSELF and attendant.is_too_much:
            ended = Ended.OUTPUT
        if ended is Ended.ITSELF and code < 0:
            ended = Ended.INTERRUPTED
        return bytes(attendant.output), ended, code

    @contextmanager
    def _start(
        self, options: Sequence[str]
    ) -> Iterator[tuple[subprocess.Popen[bytes], FirstProcess]]:
        """A sandbox that waits for its order, and its first process."""
        with ExitStack() as stack:
            hearing, tells = os.pipe()
            hears = stack.enter_context(os.fdopen(hearing, "rb"))
            telling = stack.enter_context(os.fdopen(tells, "wb"))
            syscalls = _as_file(self.syscalls)
            stack.callback(os.close, syscalls)
            handed = ["--info-fd", str(tells), "--seccomp", str(syscalls)]
            child = self._popen([*handed, *options], (tells, syscalls))
            stack.callback(_bury, child)
            telling.close()
            is_told = select.select([hears], [], [], TOLD_WITHIN_S)[0]
            told = hears.read() if is_told else b""
            yield child, stack.enter_context(FirstProcess(told))

    def _popen(
        self, options: Sequence[str], fds: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self.program, *options, "--", str(self.python), *first_program()],
                # Its first process can be read by those that come after.
                env={},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=fds,
                bufsize=0,
            )
        except OSError as error:
            raise MachineError(
                f"cannot be started: {error.strerror}", path=self.program, hint=INSTALL
            ) from None


def open_bubblewrap() -> Bubblewrap:
    """The ``bwrap`` of this machine; whether it works is not known yet.

    Raises:
        MachineError: it is not installed, or cannot hold this Python.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise MachineError("bwrap is not installed", hint=INSTALL)
    machine = os.uname().machine
    syscalls = syscall_filter(machine)
    if syscalls is None:
        raise MachineError(
            f"which system calls to refuse is not known of {machine}", hint="use Docker"
        )
    try:
        said = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=ASK_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        raise MachineError(
            "does not tell its version", path=program, hint=INSTALL
        ) from None
    return Bubblewrap(
        program=program, name=said.strip(), python=own_python(), syscalls=syscalls
    )


def own_python() -> Path:
    """The Python that runs, in its own folder rather than a virtual environment's.

    Raises:
        MachineError: that folder is not of Python alone.
    """
    prefix = Path(sys.base_prefix).resolve()
    if Path.home().resolve().is_relative_to(prefix):
        raise MachineError(
            f"this Python lies in {prefix}, with the home folder in it",
            hint="run placer by a Python in a folder of its own",
        )
    return prefix / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def _as_file(content: bytes) -> int:
    """A file without a name, at its beginning."""
    file = os.memfd_create("filter")
    os.write(file, content)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _bury(child: subprocess.Popen[bytes]) -> None:
    """It is gone, and its pipes are."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
