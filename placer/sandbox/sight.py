"""What a program sees in a sandbox of ``bwrap``, and who it is: as its options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from placer.sandbox.order import FOLDER, PACKAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.sandbox.contract import Limits

NAMESPACES = ("ipc", "pid", "net", "uts")
# Folders of the system beside /usr; most are links into it.
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What the loader and Debian's links read of /etc.
OF_ETC = ("/etc/ld.so.cache", "/etc/alternatives")


def sight(limits: Limits, *, python: Path, packages: Mapping[str, Path]) -> list[str]:
    """The options of a sandbox.

    Args:
        limits: of what is written.
        python: its folder is seen where it is.
        packages: folders that are seen elsewhere: by where they are seen.
    """
    return [
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        *(f"--unshare-{one}" for one in NAMESPACES),
        *("--unshare-cgroup-try", "--hostname", "sandbox"),
        *_rights(),
        *_system(),
        *("--proc", "/proc", "--dev", "/dev"),
        *_temporary(FOLDER, limits),
        *_temporary("/dev/shm", limits),  # noqa: S108 - inside
        *("--remount-ro", "/dev"),
        *_python(python.parent.parent),
        *("--dir", PACKAGES),
        *(o for at, path in packages.items() for o in ("--ro-bind", str(path), at)),
        # All is in its place; nobody puts more there.
        *("--remount-ro", "/", "--chdir", FOLDER),
    ]


def is_root() -> bool:
    """Whether this process is root, which no program may be."""
    return os.geteuid() == 0


def _rights() -> tuple[str, ...]:
    if not is_root():
        return ("--unshare-user",)
    # Only to become somebody else, who has none. As in a namespace of users root is
    # still root, whom no number of processes binds, there is none.
    return ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for path in (Path("/", name) for name in SYSTEM):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in OF_ETC:
        yield from ("--ro-bind-try", name, name)


def _temporary(folder: str, limits: Limits) -> tuple[str, ...]:
    size = str(limits.temp_bytes)
    return ("--perms", "1777", "--size", size, "--tmpfs", folder)


def _python(prefix: Path) -> Iterator[str]:
    if prefix.is_relative_to("/usr"):
        return
    for folder in reversed(prefix.parents[:-1]):
        # Whoever may not enter it outside may inside: nothing else is in it.
        yield from ("--dir", str(folder))
    yield from ("--ro-bind", str(prefix), str(prefix))
