"""A folder with a profile, a model and an engine, to run the command in."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from placer.cli.main import run
from placer.testing.fake_engine import fake_engine
from placer.testing.models import write_qwen3moe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONF = """\
# my models
[moe]
NAME=A mixture
MODEL=moe.gguf
CTX_SIZE=512
N_GPU_LAYERS=99
FIT=off
# found by hand, do not touch
EXTRA_ARGS=--jinja -b 256 -ub 64 -np 1 -ot exps=CPU
COLOUR=blue
"""
SHAPE = {"n_layer": 6, "n_expert": 16, "n_ff_exp": 512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a run of the command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where a person works: the command, run in a folder of its own."""

    folder: Path
    engine: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    def placer(self, *args: str) -> Answer:
        """Run the command; a search measures nothing beside its answer unasked."""
        quick = ("--no-compare",) * (args[:1] == ("optimize",))
        code = run([*args[:2], *quick, *args[2:]])
        printed = self.capsys.readouterr()
        return Answer(code=code, out=printed.out, err=printed.err)


@pytest.fixture(scope="session")
def mixture_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of every desk, of 80 MiB; who wants another unlinks it first."""
    path = tmp_path_factory.mktemp("mixture") / "moe.gguf"
    return write_qwen3moe(path, **SHAPE)


@pytest.fixture
def desk(
    tmp_path: Path,
    mixture_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """Two GPUs of 40 and 30 MiB, a model of 80, and a profile for it."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "moe.gguf").hardlink_to(mixture_path)
    (tmp_path / "models.conf").write_text(CONF)
    engine = fake_engine(tmp_path, devices={"Vulkan0": 40, "Vulkan1": 30})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACER_LLAMA_SERVER", str(engine))
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("PLACER_CONF", "PLACER_MODELS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Desk(folder=tmp_path, engine=engine, capsys=capsys)


@pytest.fixture
def heeding() -> Callable[[], None]:
    """What a child does first: a suite that runs in the background ignores Ctrl-C."""

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    return heed
