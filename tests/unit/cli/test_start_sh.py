"""start.sh: a thin wrapper of the command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

START = Path(__file__).parents[3] / "start.sh"


def start(folder: Path, *args: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of it from elsewhere."""
    copy = folder / "start.sh"
    shutil.copy(START, copy)
    return subprocess.run(
        [str(copy), *args],
        env={"PATH": path},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def placer_in(folder: Path) -> Path:
    """A placer that says where it works and what it was told."""
    folder.mkdir(parents=True)
    program = folder / "placer"
    program.write_text('#!/bin/sh\necho "$(pwd)|$*"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "serve"),
        (("glm-q8", "--no-dashboard"), "serve glm-q8 --no-dashboard"),
        (("--list", "--json"), "profiles --json"),
    ],
)
def test_it_passes_on_what_it_is_told(
    tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    """To the placer beside it, in the folder where models.conf is."""
    placer_in(tmp_path / ".venv" / "bin")
    done = start(tmp_path, *given, path=os.environ["PATH"])
    assert done.stdout == f"{tmp_path}|{told}\n"


def test_without_one_beside_it_the_one_on_path_is_run(tmp_path: Path) -> None:
    """As where placer was installed otherwise."""
    program = placer_in(tmp_path / "elsewhere")
    path = f"{program.parent}:{os.environ['PATH']}"
    done = start(tmp_path, "glm-q8", path=path)
    assert done.stdout == f"{tmp_path}|serve glm-q8\n"


def test_without_any_it_says_what_to_do(tmp_path: Path) -> None:
    """One line, exit code 3."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = start(tmp_path, path=str(tools))
    assert done.returncode == 3
    assert "scripts/setup" in done.stderr
