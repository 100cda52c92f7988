"""The Vulkan layer that gives each emulated device its capacity, built on first use.

Its source is ``vulkan_layer/*.c``; what comes out is kept in the user's cache,
under a name that changes with the source and with the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from placer.errors import MachineError

LAYER = "VK_LAYER_PLACER_capacity"
PACKAGES = "install the packages gcc, libvulkan-dev and mesa-vulkan-drivers"
SOURCE = Path(__file__).parent / "vulkan_layer"
# A loader unloads its layers with the last instance, and an application may make
# another: nodelete keeps what the process has claimed of the state file.
FLAGS = (
    "-std=c11 -O2 -fPIC -shared -fvisibility=hidden -pthread -Wl,-z,nodelete"
    " -Wall -Wextra"
).split()

_MANIFEST = {
    "file_format_version": "1.1.2",
    "layer": {
        "name": LAYER,
        "type": "GLOBAL",
        "library_path": "./libplacer_capacity.so",
        "api_version": "1.3.239",
        "implementation_version": "1",
        "description": "Gives lavapipe devices a capacity each",
        "functions": {
            "vkNegotiateLoaderLayerInterfaceVersion": (
                "vkNegotiateLoaderLayerInterfaceVersion"
            ),
        },
        "device_extensions": [{"name": "VK_EXT_memory_budget", "spec_version": "1"}],
    },
}


def cache_folder() -> Path:
    """Where what is built or compiled for emulated devices outlives a process."""
    return user_cache_path("placer") / "emulated-gpus"


def layer_folder() -> Path:
    """The folder of the built layer and its manifest, for ``VK_LAYER_PATH``.

    Raises:
        MachineError: no compiler, no Vulkan headers, or the source does not build.
    """
    compiler = _find_compiler()
    folder = cache_folder() / f"layer-{_fingerprint(compiler)[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _build_into(folder, compiler)
    return folder


def driver_library() -> str:
    """What names lavapipe, Mesa's Vulkan driver for the CPU, to the loader.

    Raises:
        MachineError: no manifest of it is installed.
    """
    for folder in _manifest_folders():
        for manifest in sorted(folder.glob("*lvp*.json")):
            library = json.loads(manifest.read_text())["ICD"]["library_path"]
            # Vulkan loader: a bare name is left to dlopen, any other is a path
            # from the manifest on.
            if "/" in library:
                return str((manifest.parent / library).resolve())
            return str(library)
    raise MachineError("lavapipe, Mesa's Vulkan driver for the CPU, is not installed",
                       hint=PACKAGES)  # fmt: skip


def _manifest_folders() -> list[Path]:
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    roots = ["/etc", *data.split(":"), "/usr/local/share", "/usr/share"]
    return [Path(root) / "vulkan" / "icd.d" for root in dict.fromkeys(roots)]


def _find_compiler() -> str:
    for name in ("gcc", "cc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return path
    raise MachineError("no C compiler to build the emulated GPUs with", hint=PACKAGES)


def _fingerprint(compiler: str) -> str:
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, check=True
    ).stdout
    digest = hashlib.sha256(version + repr((FLAGS, _MANIFEST)).encode())
    for source in sorted(SOURCE.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _build_into(folder: Path, compiler: str) -> None:
    """The folder appears with its whole content, whoever else builds it meanwhile."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        built = Path(scratch) / "layer"
        built.mkdir()
        compile_layer(built / "libplacer_capacity.so", compiler)
        (built / "layer.json").write_text(json.dumps(_MANIFEST, indent=2))
        try:
            built.rename(folder)
        except OSError:
            if not folder.exists():
                raise


def compile_layer(library: Path, compiler: str, *extra_flags: str) -> None:
    """The layer's source is built to a library.

    Raises:
        MachineError: with the compiler's first complaint.
    """
    sources = [str(path) for path in sorted(SOURCE.glob("*.c"))]
    run = subprocess.run(
        [compiler, *FLAGS, *extra_flags, "-o", str(library), *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 0:
        return
    complaint = re.search(r"(?:fatal )?error: (.*)", run.stderr)
    problem = run.stderr if complaint is None else complaint[1]
    if "vulkan/" in problem:
        raise MachineError("the Vulkan headers are not installed", hint=PACKAGES)
    raise MachineError(f"{compiler} could not build the emulated GPUs: {problem}")
