"""A user's folder with a profile, and fake engines that go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from placer import app
from placer.search.records import StudyRecord, read_study, study_folders
from placer.testing.fake_engine import fake_engine, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


CONF = """\
# Every byte of this is mine.
[tiny]
NAME=Tiny
MODEL=moe.gguf
CTX_SIZE=1024
EXTRA_ARGS=-b 256 -ub 256 -np 1
"""
# Experts must stay on the CPU.
DEVICES = {"Vulkan0": 40, "Vulkan1": 20}


@dataclass(slots=True, kw_only=True)
class Desk:
    """Where a user works."""

    folder: Path
    models: Path
    engine: Path
    events: list[Any] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    @property
    def where(self) -> app.Where:
        """Engine and files."""
        return app.Where(
            server=self.engine,
            conf=self.conf,
            models=self.models,
            logs=self.folder / "search_logs",
        )

    def optimize(
        self,
        on_event: Callable[[Any], None] | None = None,
        *,
        resume: bool = False,
    ) -> app.Optimized:
        """Search for the profile, one step beyond included: three launches or more."""
        return app.optimize(
            "tiny",
            self.where,
            app.Request(),
            app.StudyOptions(by_launch=True, resume=resume),
            on_event=on_event or self.events.append,
        )

    @property
    def study(self) -> StudyRecord:
        """The record of the only search."""
        (folder,) = study_folders(self.where.logs)
        return read_study(folder)

    def assert_nothing_changed(self) -> None:
        """The profile file has its bytes, and no engine runs."""
        assert self.conf.read_text() == CONF
        assert running(self.engine) == ()


@pytest.fixture(scope="session")
def desk_in(moe_path: Path) -> Callable[..., Desk]:
    """A desk in a folder, the engine failing as asked: keywords of ``fake_engine``."""

    def make(folder: Path, **faults: Any) -> Desk:
        engine = fake_engine(folder, **{"devices": DEVICES, **faults})
        desk = Desk(folder=folder, models=moe_path.parent, engine=engine)
        desk.conf.write_text(CONF)
        return desk

    return make


@pytest.fixture
def make_desk(tmp_path: Path, desk_in: Callable[..., Desk]) -> Callable[..., Desk]:
    """The same in a folder of the test's own."""
    return partial(desk_in, tmp_path)
