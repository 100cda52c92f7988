"""llama-perplexity: how well a model expects a text, part by part."""

from __future__ import annotations

import math
import os
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from placer.engine.process import start_child
from placer.errors import MachineError
from placer.placement.arguments import read_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.binary import Engine
    from placer.placement.arguments import Argument

PROGRAM = "llama-perplexity"
HINT = "build it with llama-server from the same sources, or leave ppl out"
# "[3]5.0123,": of all parts so far; perplexity.cpp:628, build 11434.
SO_FAR = re.compile(r"\[(\d+)\](\d+\.\d+),")
# Likewise line 647.
FINAL = re.compile(r"Final estimate: PPL = (\d+\.\d+)")
# Flags of a launch that it takes as the server does: what the model computes with, and
# where it lies. The context is that of a part.
SHARED = frozenset(
    "-t -tb -b -ub -fa -ctk -ctv -kvo --op-offload --swa-full --mmap --mlock -dio "
    "-lm --repack --no-host -dev -ot -cmoe -ncmoe -ngl -sm -ts -mg".split()
)
PART_TOKENS = 512
MOST_WORDS = 200


def find_perplexity(engine: Engine) -> Path | None:
    """The one that lies beside the llama-server, else that of PATH."""
    beside = engine.binary.resolve().parent / PROGRAM
    if os.access(beside, os.X_OK) and beside.is_file():
        return beside
    found = shutil.which(PROGRAM)
    return None if found is None else Path(found)


def perplexities(
    program: Path, engine: Engine, args: Sequence[str], text: Path, log_path: Path
) -> tuple[float, ...]:
    """Of every part of a text, one after the other.

    Args:
        program: llama-perplexity.
        engine: whose environment it runs in.
        args: flags of a launch of the server.
        text: the file to read.
        log_path: where its output goes.

    Raises:
        MachineError: it failed, or the text is too short.
    """
    part = ("-c", str(PART_TOKENS), "-fit", "off", "-f", str(text))
    argv = [str(program), *_shared(args), *part]
    child = start_child(argv, engine.environment, log_path, hint=HINT)
    try:
        code = child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    said = log_path.read_text(encoding="utf-8", errors="replace")
    found = parts_of(said)
    if code or not found:
        words = (said.strip().splitlines() or ["nothing"])[-1][:MOST_WORDS]
        raise MachineError(
            f"ended with {code} and said: {words}",
            path=program,
            hint=f"see {log_path}; the text has to have {2 * PART_TOKENS} tokens",
        )
    return found


def parts_of(said: str) -> tuple[float, ...]:
    """What the program said of each part, out of what it says of all so far."""
    if FINAL.search(said) is None:
        return ()
    so_far = {int(n): float(ppl) for n, ppl in SO_FAR.findall(said)}
    sums = [0.0, *(n * math.log(so_far[n]) for n in sorted(so_far))]
    return tuple(math.exp(after - before) for before, after in pairwise(sums))


def _shared(args: Sequence[str]) -> tuple[str, ...]:
    """Those flags of a launch of the server that perplexity takes too."""
    model = args[: args.index("-m") + 2][-2:] if "-m" in args else ()
    found = [a for a in read_tokens(args) if a.name in SHARED and a.option]
    flags = [t for a in found for t in _spelt(a)]
    return (*model, *flags)


def _spelt(argument: Argument) -> tuple[str, ...]:
    option, value = argument.option, argument.value
    if option is None or value is None:
        return ()
    if option.takes_value:
        return option.name, value
    return (argument.text.strip(),)
