"""One start at a time of one profile's server."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.serve.state import StateFolder


@contextmanager
def starting(state: StateFolder, profile: str) -> Iterator[None]:
    """No other placer starts or clears away this profile's server meanwhile.

    The lock is the kernel's, and ends with the process, however it ends. Its file
    stays: one that is removed could be locked twice.

    Raises:
        InputError: another does.
    """
    state.path.mkdir(parents=True, exist_ok=True)
    with (state.path / f"{profile}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another placer"
            raise InputError(
                f"{profile} is being started by {holder}", hint="see placer status"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
        file.truncate(0)
