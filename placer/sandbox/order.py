"""What is handed to the first program in a sandbox: files, limits, environment."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.sandbox import inside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.sandbox.contract import Limits

FILES_OPEN = 64
NOT_BESIDE = ("", "..", inside.MAIN)
PACKAGES = "/packages"
# Where a program runs, and all that it may write to.
FOLDER = "/tmp"  # noqa: S108 - inside, where it is nobody else's
ENVIRONMENT = {
    "HOME": FOLDER,
    "TMPDIR": FOLDER,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    # What it said before it was ended is not lost in a buffer.
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # The same program gives the same answer.
    "PYTHONHASHSEED": "0",
    # Each thread takes address space; of these one is as good as many here.
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def make_order(
    program: str,
    files: Mapping[str, str | bytes],
    *,
    limits: Mapping[str, tuple[int, int]],
    packages: Sequence[str] = (),
    uid: int | None = None,
) -> bytes:
    """The line that orders a program.

    Args:
        program: the text of ``main.py``.
        files: what stands beside it.
        limits: what it may take, by the names of Python's ``resource``.
        packages: folders inside the sandbox that it may import from.
        uid: whom to become first; None to stay.

    Raises:
        InputError: the name of a file is more than a name, or taken.
    """
    for name in files:
        if Path(name).name != name or name in NOT_BESIDE:
            raise InputError(
                f"{name!r} cannot stand beside {inside.MAIN}",
                hint="give a name without a folder",
            )
    content = {inside.MAIN: program, **files}
    environment = dict(ENVIRONMENT)
    if packages:
        environment["PYTHONPATH"] = ":".join(packages)
    order = {
        "files": {name: _as_latin(one) for name, one in content.items()},
        "limits": limits,
        "environment": environment,
        "uid": uid,
    }
    return json.dumps(order).encode() + b"\n"


def process_limits(limits: Limits) -> dict[str, tuple[int, int]]:
    """What each process may take, soft and hard, by the names of ``resource``."""
    hard = {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": FILES_OPEN,
        "RLIMIT_CORE": 0,
    }
    # The soft one tells itself by its signal; who does not listen meets the hard one.
    cpu = {"RLIMIT_CPU": (limits.cpu_s, limits.cpu_s + 1)}
    return cpu | {name: (most, most) for name, most in hard.items()}


def package_paths(packages: Sequence[Path]) -> dict[str, Path]:
    """Where folders of packages are seen inside, whose names tell of this machine."""
    return {f"{PACKAGES}/{at}": folder.resolve() for at, folder in enumerate(packages)}


@cache
def first_program() -> tuple[str, ...]:
    """The flags of a Python that takes an order."""
    return "-I", "-S", "-c", Path(inside.__file__).read_text(encoding="utf-8")


def _as_latin(content: str | bytes) -> str:
    """Bytes as JSON can hold them."""
    if isinstance(content, str):
        # What is no text makes no program: its Python says so.
        content = content.encode(errors="surrogatepass")
    return content.decode("latin-1")
