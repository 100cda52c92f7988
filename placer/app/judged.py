"""The verb ``judge``: any llama-server log, judged by the rules of a search."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from placer.engine.advice import advice
from placer.engine.judge import judge_log
from placer.engine.log import read_log
from placer.engine.paste import read_paste
from placer.errors import InputError

if TYPE_CHECKING:
    from typing import BinaryIO

    from placer.engine.paste import Paste
    from placer.engine.verdict import Verdict

STANDARD_INPUT = Path("-")
# A log of days at the highest level; of a longer one, the end.
MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A log and what it is judged to show.

    Attributes:
        verdict: on its last launch.
        advice: what to change, None where nothing is wrong.
        notes: what the verdict does not rest on, and a reader should know.
    """

    verdict: Verdict
    advice: str | None
    notes: tuple[str, ...] = ()


def judge(path: Path | str, *, exit_code: int | None = None) -> Judged:
    """Judge the log in a file; ``-`` is standard input.

    Args:
        path: of the log.
        exit_code: of the server, where it is known; else the log may tell.

    Raises:
        InputError: the file cannot be read, or is no log of llama-server.
    """
    path = Path(path)
    data, is_cut = _read(path)
    found = read_paste(data)
    if not found.is_known and (exit_code is None or data.strip()):
        raise InputError(
            "no line of it is llama-server's",
            path=None if path == STANDARD_INPUT else path,
            hint="give it the server's log, standard output and error together",
        )
    code = found.exit_code if exit_code is None else exit_code
    verdict = judge_log(read_log(found.lines), exit_code=code, ending=found.ending)
    return Judged(
        verdict=verdict,
        advice=advice(verdict),
        notes=tuple(_notes(found, is_cut=is_cut)),
    )


def _notes(found: Paste, *, is_cut: bool) -> list[str]:
    notes = []
    if is_cut:
        notes.append(f"only the last {MOST_BYTES >> 20} MiB were read")
    if found.launches > 1:
        before = judge_log(read_log(found.earlier)).outcome.value
        notes.append(
            f"the log holds {found.launches} launches: the last is judged; "
            f"the one before it is {before}"
        )
    return notes


def _read(path: Path) -> tuple[bytes, bool]:
    """The file's last bytes, and whether there are more."""
    try:
        if path == STANDARD_INPUT:
            return _last_bytes(sys.stdin.buffer)
        with path.open("rb") as file:
            return _last_bytes(file)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}", path=path
        ) from error


def _last_bytes(file: BinaryIO) -> tuple[bytes, bool]:
    if file.seekable():
        size = file.seek(0, 2)
        file.seek(max(size - MOST_BYTES, 0))
        return file.read(MOST_BYTES), size > MOST_BYTES
    data = b""
    is_cut = False
    while chunk := file.read(1 << 20):
        data += chunk
        if len(data) > 2 * MOST_BYTES:
            data, is_cut = data[-MOST_BYTES:], True
    return data[-MOST_BYTES:], is_cut or len(data) > MOST_BYTES
