"""The newcomer's path, from the first command of the page to the last."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.engine.process import free_port
from placer.errors import MachineError
from placer.testing import bundled_engine
from placer.testing.layer import driver_library, layer_folder
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "getting-started.md"
PICTURES = ROOT / "scripts" / "pictures.d" / "terminal.py"
TIMEOUT_S = 240
# By the first words of a command: what must be seen of it.
SEEN = {
    "placer new": "Wrote models.conf",
    "placer devices": "Vulkan1",
    "placer plan": "Nothing was loaded",
    "placer optimize": "Wrote models.conf",
    "placer profiles": "1 proved",
    "placer serve": "smollm2 is ready",
    "curl -s": '"content":',
    "placer status": "ready",
    "placer stop": "Stopped smollm2",
}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Runs a line as a newcomer's shell would, who has a model of two layers."""
    if bundled_engine() is None or shutil.which("curl") is None:
        pytest.skip("needs the test engine, and curl")
    try:
        layer_folder()
        driver_library()
    except MachineError as error:
        pytest.skip(str(error))
    (tmp_path / "models").mkdir()
    write_llama(tmp_path / "models" / "SmolLM2-135M.gguf", n_layer=2)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PLACER_STATE": str(tmp_path / "state"),
    }

    def run(line: str) -> str:
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    yield run
    run("placer stop --all")


def lines_of_the_path() -> list[str]:
    """What the page has a newcomer type, the clone and the demo aside."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("placer ", "curl "))]


@pytest.mark.engine
def test_the_path_leads_to_an_answer(shell: Callable[[str], str]) -> None:
    """Every command of the page works after those before it, the chat request too."""
    port = free_port()
    met = set()
    for line in lines_of_the_path():
        start = " ".join(line.split()[:2])
        here = line.replace("8080", str(port))
        if start == "placer serve":
            here += f" --port {port}"
        assert SEEN[start] in shell(here), line
        met.add(start)
    assert met == set(SEEN)
    assert json.loads(shell("placer status --json"))["servers"] == []


def test_the_pictures_show_the_same_commands() -> None:
    """What the pictures were made of is what the page has typed, in its order."""
    spec = importlib.util.spec_from_file_location("terminal", PICTURES)
    assert spec is not None
    assert spec.loader is not None
    terminal = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(terminal)
    names, _, commands = zip(*terminal.SESSIONS, strict=True)
    assert [line for lines in commands for line in lines] == lines_of_the_path()
    shown = re.findall(r"pictures/(\w+)\.svg", PAGE.read_text(encoding="utf-8"))
    assert shown == list(names)
    for name in names:
        assert (ROOT / "docs" / "pictures" / f"{name}.svg").is_file()
