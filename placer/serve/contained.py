"""A server in a container, with its log beside its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from placer.engine.docker import ServedContainer


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainedProcess:
    """A llama-server in a container that outlives the command.

    Attributes:
        container: on its daemon.
        base_url: where it answers.
        log_path: where what it says is copied to.
    """

    container: ServedContainer
    base_url: str
    log_path: Path

    @property
    def pid(self) -> int | None:
        """Its process id on this host, None where it has none."""
        return self.container.pid

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.container.exit_code()

    def follow_log(self) -> AbstractContextManager[None]:
        """What it says is copied as it speaks, for as long as this lasts."""
        return self.container.follow_log(self.log_path)

    def copy_log(self) -> None:
        """What it said so far is in the file."""
        if self.log_path.parent.is_dir():
            self.container.copy_log(self.log_path)

    def stop(self) -> int:
        """End it; the container is gone then, and what it said is kept."""
        self.copy_log()
        return self.container.stop() or 0
