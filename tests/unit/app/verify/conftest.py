"""A profile to verify, and an engine that is replaced by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from placer import app
from placer.app.compared import Tolerance
from placer.app.verified import FOLDER, Verification
from placer.search.journal import FILE_NAME, read_journal
from placer.testing.fake_engine import fake_engine, launches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.search.events import Event

CONF = """\
[tiny]
MODEL=moe.gguf
CTX_SIZE=1024
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=--jinja -b 256 -ub 64 -np 1 -ts 3,2 -ot blk\\.[23]\\..*exps=CPU
"""
# A fake engine decodes thousands of tokens a second or, slowed, some twenty.
LOOSE = app.VerifyOptions(tolerance=Tolerance(share=0.95))
DEVICES = {"Vulkan0": 100, "Vulkan1": 100}


@dataclass(slots=True, kw_only=True)
class Desk:
    """A folder with profiles, and an engine that is replaced by another."""

    folder: Path
    models: Path
    conf: str = CONF
    loose: app.VerifyOptions = LOOSE

    def engine(self, **faults: Any) -> Path:
        """Install an engine: the keywords of ``fake_engine``."""
        return fake_engine(self.folder, **{"devices": DEVICES, **faults})

    @property
    def where(self) -> app.Where:
        """Engine and files."""
        return app.Where(
            server=self.folder / "llama-server",
            conf=self.folder / "models.conf",
            models=self.models,
            logs=self.folder / "search_logs",
        )

    def write(self, text: str) -> None:
        """Replace the profiles."""
        (self.folder / "models.conf").write_text(text)

    def optimize(self) -> app.Optimized:
        """Search for the profile, and write it."""
        return app.optimize("tiny", self.where, app.Request())

    def verify(
        self,
        options: app.VerifyOptions = LOOSE,
        on_event: Callable[[Event], None] | None = None,
    ) -> Verification:
        """Verify the profile."""
        (found,) = app.verify(["tiny"], self.where, options, on_event=on_event).profiles
        return found

    def journals(self) -> list[tuple[dict[str, Any], ...]]:
        """What verifications left behind, oldest first."""
        paths = sorted((self.where.logs / "tiny" / FOLDER).glob(f"*/{FILE_NAME}"))
        return [read_journal(path) for path in paths]

    def n_launches(self) -> int:
        """How often the engine was told to load a model for good."""
        engine = self.folder / "llama-server"
        return sum(not launch.dry_run for launch in launches(engine))


@pytest.fixture
def desk(tmp_path: Path, moe_path: Path) -> Desk:
    """A profile and an engine, and nothing searched yet."""
    desk = Desk(folder=tmp_path, models=moe_path.parent)
    desk.write(CONF)
    desk.engine()
    return desk
