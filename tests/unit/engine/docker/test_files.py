"""Files that flags name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.engine.docker.files import absolute, named_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command was started: files, and one that is called as a value is."""
    for name in ("m/a.gguf", "m/p-00001-of-00002.gguf", "m/p-00002-of-00002.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("lora.gguf", "on"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_flags_name_is_found(folder: Path) -> None:
    """A model, the parts of a split one, what is scaled, a folder."""
    args = ["-m", "m/a.gguf", "-md", str(folder / "m" / "p-00001-of-00002.gguf")]
    args += ["--lora-scaled", "lora.gguf:0.5,m/a.gguf:1e-1", "--media-path", "./m"]
    assert [name.removeprefix(f"{folder}/") for name in named_files(args)] == [
        "m/a.gguf",
        "m/p-00001-of-00002.gguf",
        "m/p-00002-of-00002.gguf",
        "lora.gguf",
        "m",
    ]


def test_what_names_no_file_is_left_alone(folder: Path) -> None:
    """Words, numbers, patterns, the root of everything, and what is not there."""
    args = ["-fa", "on", "-ts", "3,3", "-ot", r"blk\.1\.=CPU", "-x", "/", "m/no.gguf"]
    assert named_files(args) == ()
    assert absolute(args) == tuple(args)


def test_names_are_good_from_any_folder(folder: Path) -> None:
    """A relative name is where it is; an absolute one stays as it is written."""
    link = folder / "link"
    link.symlink_to(folder / "m")
    assert absolute(["-m", "m/../m/a.gguf", f"{link}/a.gguf", "lora.gguf:0.5"]) == (
        "-m",
        f"{folder.resolve()}/m/a.gguf",
        f"{link}/a.gguf",
        f"{folder}/lora.gguf:0.5",
    )
