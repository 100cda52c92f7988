"""Where running servers are on record: one folder a profile.

::

    <state>/<profile>/server.json   the record, written whole
    <state>/<profile>/server.log    what the server says
    <state>/<profile>/home/         its XDG_CONFIG_HOME
    <state>/<profile>/gpus/         its emulated devices, where it has such
    <state>/<profile>.log           what the last one said that has ended
    <state>/<profile>.lock          held while one is started
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from placer.serve.running import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE_VARIABLE = "PLACER_STATE"
RECORD = "server.json"
LOG = "server.log"


def default_state() -> StateFolder:
    """The folder that ``PLACER_STATE`` names, else the user's own."""
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return StateFolder(Path(named))
    from platformdirs import user_state_path

    return StateFolder(user_state_path("placer") / "servers")


class StateFolder:
    """The servers of one user.

    Args:
        path: the folder; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, profile: str) -> Path:
        """Where the files of one profile's server are; it need not be there."""
        return self.path / profile

    def servers(self) -> tuple[Running, ...]:
        """All that are on record, whether they still run or not, by profile."""
        return tuple(self._records())

    def server(self, profile: str) -> Running | None:
        """The one of a profile; None where none is on record."""
        return self._read(self.folder(profile) / RECORD)

    def keep(self, running: Running) -> None:
        """Put a server on record, whole or not at all."""
        folder = self.folder(running.profile)
        folder.mkdir(parents=True, exist_ok=True)
        whole = folder / f"{RECORD}.tmp"
        with whole.open("w", encoding="utf-8") as file:
            json.dump(running.as_json(), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(folder / RECORD)

    def forget(self, profile: str) -> None:
        """Nothing of a profile's server is left here."""
        shutil.rmtree(self.folder(profile), ignore_errors=True)

    def kept_log(self, profile: str) -> Path:
        """What a profile's last server said that has ended."""
        return self.path / f"{profile}.log"

    def retire(self, profile: str) -> None:
        """Nothing of a profile's server is left but what it said."""
        with suppress(OSError):
            (self.folder(profile) / LOG).replace(self.kept_log(profile))
        self.forget(profile)

    def leftovers(self) -> tuple[str, ...]:
        """Profiles with a folder and no record: a start was killed before it."""
        if not self.path.is_dir():
            return ()
        folders = sorted(f for f in self.path.iterdir() if f.is_dir())
        return tuple(f.name for f in folders if self.server(f.name) is None)

    def _records(self) -> Iterator[Running]:
        if not self.path.is_dir():
            return
        for folder in sorted(self.path.iterdir()):
            running = self._read(folder / RECORD)
            if running is not None:
                yield running

    def _read(self, path: Path) -> Running | None:
        """A record; None where there is none, or a broken one: that is no server."""
        try:
            return Running.of_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError):
            return None
