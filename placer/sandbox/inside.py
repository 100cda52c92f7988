"""The first program in a sandbox: it takes the order, binds itself, becomes the second.

It is handed over as text, to a Python that may be older than this one and has nothing
but its own library, and is over before a line of the second is read.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress

# The first byte of the output: what comes before it is the sandbox's own complaint.
STARTED = b"\0"
MAIN = "main.py"


def main() -> None:
    """Do what the line on stdin orders; only all of a line is an order."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        sys.exit("nobody is there to order a program")
    order = json.loads(line)
    # Should the kernel be out of memory, this goes before anything of the user's.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as own:  # noqa: PTH123
        own.write("1000")
    if order["uid"] is not None:
        become(order["uid"])
    for name, content in order["files"].items():
        with open(name, "xb") as file:  # noqa: PTH123
            file.write(content.encode("latin-1"))
        os.chmod(name, 0o444)  # noqa: PTH101
    for name, (soft, hard) in order["limits"].items():
        bind(getattr(resource, name), soft, hard)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 1024)
    os.write(1, STARTED)
    os.execve(sys.executable, [sys.executable, MAIN], order["environment"])  # noqa: S606


def become(uid: int) -> None:
    """Another user for good, with no right of the one before."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def bind(kind: int, soft: int, hard: int) -> None:
    """Take no more of something than this, or than was allowed already."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


if __name__ == "__main__":
    main()
