"""The environment of every engine that placer starts: nothing of the user's leaks in.

``LLAMA_ARG_*`` and the engine's own config files change a launch silently
(arg.cpp:717), so the one is removed and the other is looked for in an empty folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# LLAMA_API_KEY locks placer out; the last two change what memory is.
SCRUBBED_PREFIXES = (
    "LLAMA_",
    "GGML_CUDA_ENABLE_UNIFIED_MEMORY",
    "GGML_VK_ALLOW_SYSMEM_FALLBACK",
)


def engine_environment(
    binary: Path, config_home: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """The environment to start ``binary`` with.

    Args:
        binary: libraries that stand beside it are found.
        config_home: an empty folder, ``XDG_CONFIG_HOME`` of the engine.
        extra: what the machine needs, emulated devices for one; wins.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SCRUBBED_PREFIXES)
    }
    env["XDG_CONFIG_HOME"] = str(config_home)
    # gdb must not attach to an aborting server: ggml.c:157.
    env["GGML_NO_BACKTRACE"] = "1"
    env.update(engine_library_env(binary))
    env.update(extra)
    return env


def engine_library_env(binary: Path) -> dict[str, str]:
    """What the engine's environment needs for the libraries that stand beside it.

    Empty where there are none: the engine then finds its libraries by itself.
    """
    folder = binary.resolve().parent
    if not any(folder.glob("libggml*.so*")):
        return {}
    path = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": os.pathsep.join(path)}
