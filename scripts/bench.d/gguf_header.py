#!/usr/bin/env python3
"""The header of a model with a big vocabulary, read by placer and by gguf-py.

Both read the same file, 201,088 tokens and 440,000 merges, each in a process of its
own; placer's time is that of its first read, the loading of its type table included.
Exit code 1 when placer is not 100 times as fast, or takes 50 MiB over the interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIN_RATIO = 100
MAX_MIB = 50
ROUNDS = 5

WRITE = """
from pathlib import Path
from placer.testing.models_file import Array, Field, Weight, strings, text, write_file

tokens = [b"token%06d" % n for n in range(201_088)]
merges = [b"tok%d en%d" % (n, n) for n in range(440_000)]
kinds = Array(element_type="int32", values=[1] * len(tokens))
write_file(
    Path(sys.argv[1]),
    [
        text("general.architecture", "gpt-oss"),
        text("tokenizer.ggml.model", "gpt2"),
        strings("tokenizer.ggml.tokens", tokens),
        Field(key="tokenizer.ggml.token_type", type_name="array", value=kinds),
        strings("tokenizer.ggml.merges", merges),
    ],
    [
        Weight(name=f"blk.{n}.weight", dims=(2880, 2880), type_name="MXFP4")
        for n in range(687)
    ],
)
"""
PLACER = """
from pathlib import Path
from placer.gguf import read_gguf
def read():
    assert len(read_gguf(Path(sys.argv[1])).tensors) == 687
"""
GGUF_PY = """
from gguf import GGUFReader
def read():
    assert len(GGUFReader(sys.argv[1]).tensors) == 687
"""
MEASURE = """
start = time.perf_counter()
read()
print(json.dumps({"read_s": time.perf_counter() - start, "peak_mib": peak() - before}))
"""
PREAMBLE = """
import json, resource, sys, time
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
"""


def run(script: str, path: Path) -> str:
    """What a fresh interpreter prints that runs ``script`` on the file."""
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script, str(path)]
    environment = {**os.environ, "PYTHONPATH": search}
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Seconds and MiB over the bare interpreter of one read, imports not timed."""
    result = json.loads(run(PREAMBLE + reader + MEASURE, path))
    return result["read_s"], result["peak_mib"]


def main() -> int:
    """Both readers side by side; 0 when placer keeps its promise."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "big-vocabulary.gguf")
        run("import sys\n" + WRITE, path)
        theirs_s, theirs_mib = measure(GGUF_PY, path)
        ours = [measure(PLACER, path) for _ in range(ROUNDS)]
    ours_s = sorted(seconds for seconds, _ in ours)[ROUNDS // 2]
    ours_mib = max(peak for _, peak in ours)
    ratio = theirs_s / ours_s
    print(f"{'reader':<8} {'seconds':>9} {'ratio':>7} {'MiB':>7}")
    print(f"{'gguf-py':<8} {theirs_s:>9.3f} {1:>7} {theirs_mib:>7.1f}")
    print(f"{'placer':<8} {ours_s:>9.3f} {ratio:>7.0f} {ours_mib:>7.1f}")
    good = ratio >= MIN_RATIO and ours_mib <= MAX_MIB
    print(f"{'ok' if good else 'MISSED'}: at least {MIN_RATIO}, at most {MAX_MIB} MiB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
