"""The Vulkan layer is built once, or it is clear what to install."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from placer.errors import MachineError
from placer.testing import layer

if TYPE_CHECKING:
    from pathlib import Path


class FakeCompiler:
    """A ``gcc`` on PATH that counts its calls and writes what it is asked to write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "gcc"
        self.says("1.0")

    def says(self, version: str, *, complaint: str = "") -> None:
        """From now on it has this version, and fails if it has a complaint."""
        build = (
            f"echo '{complaint}' >&2; exit 1"
            if complaint
            else 'while [ "$1" != -o ]; do shift; done; echo built >"$2"'
        )
        self.path.write_text(
            f"#!/bin/sh\n[ $1 = --version ] && echo {version} && exit\n"
            f"echo run >>{self.folder}/runs\n{build}\n"
        )
        self.path.chmod(0o755)

    @property
    def runs(self) -> int:
        """How often it compiled."""
        log = self.folder / "runs"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    """A compiler that is found, and a cache of its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return FakeCompiler(tmp_path / "bin")


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which drivers are looked for."""
    folder = tmp_path / "icd.d"
    folder.mkdir()
    monkeypatch.setattr(layer, "_manifest_folders", lambda: [folder])
    return folder


def test_the_layer_is_built_once(compiler: FakeCompiler) -> None:
    """The second time it is taken from the cache."""
    assert layer.layer_folder() == layer.layer_folder()
    assert compiler.runs == 1


def test_another_compiler_builds_another_layer(compiler: FakeCompiler) -> None:
    """What was built before stays."""
    first = layer.layer_folder()
    compiler.says("2.0")
    second = layer.layer_folder()
    assert first != second
    assert (first / "libplacer_capacity.so").exists()
    assert compiler.runs == 2


def test_the_manifest_names_the_library_beside_it(compiler: FakeCompiler) -> None:
    """So that the loader finds it wherever the cache stands."""
    folder = layer.layer_folder()
    said = json.loads((folder / "layer.json").read_text())["layer"]
    assert said["name"] == layer.LAYER
    assert (folder / said["library_path"]).read_text() == "built\n"


def test_builds_at_the_same_time_do_not_meet(compiler: FakeCompiler) -> None:
    """Each ends with the whole layer in one and the same place, and no remains."""
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: layer.layer_folder(), range(8)))
    (folder,) = folders
    assert {path.name for path in folder.iterdir()} == {
        "layer.json",
        "libplacer_capacity.so",
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages are named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"no C compiler.*gcc, libvulkan-dev"):
        layer.layer_folder()


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        (
            "fatal error: vulkan/vulkan.h: No such file or directory",
            "headers are not installed.*libvulkan-dev",
        ),
        ("x.c:1:2: error: something odd", "could not build.*something odd"),
        ("killed", "could not build.*killed"),
    ],
)
def test_a_failed_build_says_why(
    compiler: FakeCompiler, complaint: str, message: str
) -> None:
    """And leaves nothing that a later try would take for a layer."""
    compiler.says("1.0", complaint=complaint)
    with pytest.raises(MachineError, match=message):
        layer.layer_folder()
    compiler.says("1.0")
    assert (layer.layer_folder() / "libplacer_capacity.so").exists()


def test_without_lavapipe_it_says_what_to_install(manifests: Path) -> None:
    """A driver of another kind is no substitute."""
    (manifests / "radeon_icd.json").write_text("{}")
    with pytest.raises(MachineError, match=r"lavapipe.*mesa-vulkan-drivers"):
        layer.driver_library()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/usr/lib/libvulkan_lvp.so", "/usr/lib/libvulkan_lvp.so"),
        ("libvulkan_lvp.so", "libvulkan_lvp.so"),
        ("../lib/libvulkan_lvp.so", "{folder}/lib/libvulkan_lvp.so"),
    ],
    ids=["absolute", "bare", "relative"],
)
def test_the_driver_is_named_as_its_manifest_means_it(
    manifests: Path, written: str, meant: str
) -> None:
    """A bare name is left to the loader; a path counts from the manifest."""
    text = json.dumps({"ICD": {"library_path": written}})
    (manifests / "lvp_icd.x86_64.json").write_text(text)
    assert layer.driver_library() == meant.format(folder=manifests.parent)
