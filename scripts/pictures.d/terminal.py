"""The newcomer's path as pictures: what a terminal shows of docs/getting-started.md.

Every command is run for real, on two emulated GPUs with SmolLM2, in an empty folder,
under a pseudo-terminal; what is left on its screen becomes an SVG.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from placer.testing.models import smollm2_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 100, 60
GPUS = "--emulate 80,60"
CHAT = (
    "curl -s http://127.0.0.1:8080/v1/chat/completions -d '"
    '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}'
    '\' | grep -o \'"content":"[^"]*"\''
)
# Name, title and commands of each; they follow on each other.
SESSIONS = (
    (
        "new",
        "a profile for a model",
        ("placer new smollm2 SmolLM2-135M.gguf -c 256 -b 256 -ub 64",),
    ),
    (
        "plan",
        "what is there, and where the model would go",
        (
            f"placer devices {GPUS}",
            f"placer plan smollm2 {GPUS} --no-tradeoffs",
        ),
    ),
    ("optimize", "proved and written", (f"placer optimize smollm2 {GPUS}",)),
    (
        "serve",
        "served, asked, stopped",
        (
            "placer profiles",
            f"placer serve smollm2 {GPUS} --no-dashboard",
            CHAT,
            "placer status",
            "placer stop",
        ),
    ),
)
# A cursor's move, an erasure, a colour; titles and links of the terminal's own.
ESCAPE = re.compile(r"\x1b(?:\[([?\d;]*)([A-Za-z])|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
RESET = "\x1b[0m"
# Fonts that rich would fetch from elsewhere, and its own name.
FOREIGN = re.compile(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", re.DOTALL)


class Screen:
    """The lines that a terminal would show, each cell with its colour."""

    def __init__(self) -> None:
        self._lines: list[list[tuple[str, str]]] = [[]]
        self._row = self._column = 0
        self._colour = ""

    def write(self, text: str) -> None:
        """What a command prints."""
        at = 0
        for match in ESCAPE.finditer(text):
            self._plain(text[at : match.start()])
            self._escape(match[1] or "", match[2] or "")
            at = match.end()
        self._plain(text[at:])

    def lines(self) -> Iterator[str]:
        """Each with its colours, as a terminal takes them."""
        for cells in self._lines:
            line = "".join(f"{RESET}{colour}{char}" for char, colour in cells)
            yield f"{line}{RESET}"

    def _plain(self, text: str) -> None:
        for char in text:
            if char == "\n":
                self._down()
            elif char == "\r":
                self._column = 0
            elif char.isprintable():
                self._put(char)

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._lines):
            self._lines.append([])

    def _put(self, char: str) -> None:
        if self._column == COLUMNS:
            self._down()
            self._column = 0
        cells = self._lines[self._row]
        cells.extend([(" ", "")] * (self._column + 1 - len(cells)))
        cells[self._column] = (char, self._colour)
        self._column += 1

    def _escape(self, numbers: str, kind: str) -> None:
        n = int(numbers) if numbers.isdigit() else 0
        if kind == "m":
            code = f"\x1b[{numbers}m"
            self._colour = "" if numbers in ("", "0") else self._colour + code
        elif kind == "A":
            self._row = max(0, self._row - (n or 1))
        elif kind == "K":
            keep = self._column if n == 0 else 0
            del self._lines[self._row][keep:]
        elif kind == "J":
            del self._lines[self._row + 1 :]
            del self._lines[self._row][self._column :]


def main() -> int:
    """0, or 3 where the model or the engine is missing."""
    model = smollm2_path()
    if model is None:
        print("pictures: run scripts/setup", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").mkdir()
        (Path(folder) / "models" / "SmolLM2-135M.gguf").symlink_to(model)
        for name, title, commands in SESSIONS:
            started = time.monotonic()
            screen = Screen()
            for command in commands:
                run(command, Path(folder), screen)
            draw(screen, title, PICTURES / f"{name}.svg")
            print(f"{name}.svg: {time.monotonic() - started:.0f} s", flush=True)
    return 0


def run(command: str, folder: Path, screen: Screen) -> None:
    """Type a command and wait for its end, which must be a good one."""
    screen.write(f"\x1b[1m$ {command}\x1b[0m\r\n")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    environment = {
        "HOME": os.environ["HOME"],
        "LANG": "C.UTF-8",
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "PLACER_LEDGER": str(folder / "ledger.jsonl"),
        "PLACER_STATE": str(folder / "state"),
    }
    process = subprocess.Popen(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    for text in read(ours, process):
        screen.write(text)
    os.close(ours)
    screen.write("\r\n")
    if process.wait():
        print(Text.from_ansi("\n".join(screen.lines())).plain, file=sys.stderr)
        raise SystemExit(f"{command}: exit code {process.returncode}")


def read(ours: int, process: subprocess.Popen[bytes]) -> Iterator[str]:
    """All that is printed until the command ends; a server goes on behind it."""
    pending = b""
    while True:
        ended = process.poll() is not None
        ready, _, _ = select.select([ours], [], [], 0.1)
        try:
            data = os.read(ours, 65536) if ready else b""
        except OSError:  # nobody holds the other end any more
            data = b""
        if not data and (ended or ready):
            return
        pending += data
        text = pending.decode(errors="ignore")
        if text.encode() == pending:
            yield text
            pending = b""


def draw(screen: Screen, title: str, path: Path) -> None:
    """The screen as SVG, the same screen the same bytes."""
    text = "\n".join(screen.lines()).rstrip(f"\n{RESET}")
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(Text.from_ansi(text), no_wrap=True)
    picture = console.export_svg(
        title=title, theme=DIMMED_MONOKAI, unique_id=f"placer-{path.stem}"
    )
    path.write_text(FOREIGN.sub("", picture), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
