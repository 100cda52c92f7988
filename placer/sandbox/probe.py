"""A program that tries what no program may, in the sandbox that it is to judge.

It runs as ``main.py`` there, beside what it needs to know; it says ``SEALED`` or what
it could do.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

FACTS = "facts.json"
SEALED = "sealed"
# It, and what started it.
MOST_PROCESSES = 4
# An address that is nobody's, for documents: no packet is sent.
OUTSIDE = ("192.0.2.1", 9)


def main() -> None:
    """Try all, and say what worked."""
    with open(FACTS, encoding="utf-8") as file:  # noqa: PTH123
        facts = json.load(file)
    found = [*network(facts), *files(facts), *rights()]
    print("; ".join(found) or SEALED)  # noqa: T201
    sys.exit(bool(found))


def network(facts: dict[str, Any]) -> list[str]:
    """Of networks, whether any is reached."""
    found = []
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outer:
        outer.connect(OUTSIDE)
        found.append("it sees a network")
    with suppress(OSError), socket.socket() as loopback:
        loopback.connect(("127.0.0.1", facts["port"]))
        found.append("it reaches this machine's loopback")
    return found


def files(facts: dict[str, Any]) -> list[str]:
    """Of files, whether any is read or written that should not be."""
    found = []
    with suppress(OSError):
        home = os.stat(facts["home"])  # noqa: PTH116
        if [home.st_dev, home.st_ino] == facts["home_is"]:
            found.append("it sees the home folder")
    for folder in ("/", "/usr", "/etc", "/dev", sys.base_prefix):
        with suppress(OSError):
            path = os.path.join(folder, "placer-probe")  # noqa: PTH118
            with open(path, "x"):  # noqa: PTH123
                found.append(f"it writes to {folder}")
            os.unlink(path)  # noqa: PTH108
    return found


def rights() -> list[str]:
    """Of rights and processes, whether it has or sees any but its own."""
    found = []
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        status = dict(line.split(":", 1) for line in file)
    if os.getuid() == 0 or int(status["CapEff"], 16):
        found.append("it has rights of root")
    if int(status["NoNewPrivs"]) != 1:
        found.append("it may gain rights")
    seen = sum(name.isdigit() for name in os.listdir("/proc"))  # noqa: PTH208
    if seen > MOST_PROCESSES:
        found.append("it sees other processes")
    return found


if __name__ == "__main__":
    main()
