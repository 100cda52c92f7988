"""Which sandbox works here: each is tried before anything is trusted to it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import InputError, MachineError
from placer.sandbox import probe
from placer.sandbox.bubblewrap import INSTALL, open_bubblewrap
from placer.sandbox.container import IMAGE_DEFAULT, open_docker
from placer.sandbox.contract import Limits, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

AUTO = "auto"
# A busy machine is not a leak.
PROBE_LIMITS = Limits(wall_s=30.0)


def find_sandbox(wanted: str = AUTO, *, image: str | None = None) -> Sandbox:
    """A sandbox that was seen to hold.

    Args:
        wanted: ``"bubblewrap"``, ``"docker"`` or, for the first of them that works,
            ``"auto"``.
        image: of Docker; None for that of ``PLACER_SANDBOX_IMAGE``.

    Raises:
        InputError: there is no such sandbox.
        MachineError: it does not work here; it says what to install.
    """
    ways: dict[str, Callable[[], Sandbox]] = {
        "bubblewrap": open_bubblewrap,
        "docker": lambda: open_docker(image),
    }
    if wanted in ways:
        return _tried(ways[wanted])
    if wanted != AUTO:
        raise InputError(
            f"there is no sandbox {wanted!r}",
            hint=f"take {', '.join(ways)} or {AUTO}",
        )
    problems = []
    for name, way in ways.items():
        try:
            return _tried(way)
        except MachineError as error:
            problems.append(f"{name}: {error.problem}")
    raise MachineError(
        f"no sandbox works here, and generated code never runs without "
        f"({'; '.join(problems)})",
        hint=f"{INSTALL}, or start Docker and docker pull {image or IMAGE_DEFAULT}",
    )


def _tried(way: Callable[[], Sandbox]) -> Sandbox:
    """A sandbox in which a program could do nothing that it may not."""
    sandbox = way()
    home = Path.home()
    status = home.stat() if home.exists() else None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        facts = {
            "port": listening.getsockname()[1],
            "home": str(home),
            "home_is": status and [status.st_dev, status.st_ino],
        }
        ran = sandbox.run(
            Path(probe.__file__).read_text(encoding="utf-8"),
            limits=PROBE_LIMITS,
            files={probe.FACTS: json.dumps(facts)},
        )
    if ran.output.strip() != probe.SEALED:
        words = ran.output.strip() or f"it ended by {ran.ended_by}"
        raise MachineError(
            f"{sandbox.name} does not hold a program: {words}",
            hint="see docs/sandbox.md",
        )
    return sandbox
