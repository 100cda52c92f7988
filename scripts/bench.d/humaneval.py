"""All of HumanEval with the real SmolLM2-135M on emulated devices, killed once.

First the harness: all canonical solutions have to pass, functions that do nothing to
fail. Then one command asks the model, is killed by -9 when half is answered, goes on
with ``--resume``, and a report is written. Exit code 1 where a problem is on record not
once, or a server outlives its command. Takes some ten minutes; the number of problems
can be given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from placer.errors import PlacerError
from placer.quality.attempt import Attempt
from placer.quality.grade import Grade, grade
from placer.quality.suite import load_suite
from placer.sandbox import find_sandbox
from placer.search.journal import FILE_NAME, read_records
from placer.testing.models_smollm2 import ON_CPU, write_smollm2_f16

ALL = 164
MOST_TOKENS = 256
THREADS = 2
LOOK_S = 0.5
CONF = f"""\
[smollm2]
MODEL=smollm2.gguf
CTX_SIZE=8192
N_GPU_LAYERS={ON_CPU[1]}
EXTRA_ARGS=-b 512 -ub 512 -np 4 --kv-unified {ON_CPU[2]}
"""


def harness() -> bool:
    """Whether right programs pass and wrong ones fail, all of them."""
    suite, sandbox = load_suite("humaneval"), find_sandbox()
    right = True
    for name, wanted in (("canonical", Grade.PASSED), ("doing nothing", Grade.FAILED)):
        bodies = {
            p.id: p.solution if wanted is Grade.PASSED else "    pass\n"
            for p in suite.problems
        }
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(
                pool.map(
                    lambda p, of=bodies: grade(
                        sandbox,
                        p,
                        Attempt(problem=p.id, sample=0, text=f"{p.prompt}{of[p.id]}"),
                    ),
                    suite.problems,
                )
            )
        grades = Counter(one.grade.value for one in found)
        seconds = time.monotonic() - began
        print(f"{name}: {dict(grades)} in {seconds:.0f} s, {sandbox.name}")
        right = right and grades == {wanted.value: ALL}
    return right


def lines(logs: Path) -> list[dict[str, Any]]:
    """All of the record so far."""
    found: list[dict[str, Any]] = []
    for path in logs.glob(f"smollm2/quality/*/{FILE_NAME}"):
        found += read_records(path, what="record", hint="look at it")
    return found


def answered(logs: Path) -> int:
    """How many answers are on record."""
    return sum(record["kind"] == "answer" for record in lines(logs))


def kill_in_the_middle(argv: list[str], logs: Path, half: int) -> int:
    """Kill the command when half is answered; how many of its processes live on."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    while answered(logs) < half and process.poll() is None:
        time.sleep(LOOK_S)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    return len(psutil.wait_procs(children, timeout=5)[1])


def main() -> int:
    """Print the score, and how long it took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ALL
    is_right = harness()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_smollm2_f16(folder / "smollm2.gguf")
        (folder / "models.conf").write_text(CONF)
        logs = folder / "search_logs"
        placer = [sys.executable, "-m", "placer"]
        argv = [*placer, "bench", "quality", "smollm2", "--limit", str(count)]
        argv += ["--conf", str(folder / "models.conf"), "--models-dir", name]
        argv += ["--logs", str(logs), "--ledger", str(folder / "ledger.jsonl")]
        argv += ["--max-tokens", str(MOST_TOKENS), "--emulate", "400,300"]
        left = kill_in_the_middle(argv, logs, count // 2)
        print(f"killed after {answered(logs)} answers, {left} processes live on")
        again = subprocess.run(
            [*argv, "--resume", "--json"], capture_output=True, text=True, check=False
        )
        if again.returncode:
            raise PlacerError(again.stderr)
        (one,) = json.loads(again.stdout)["profiles"]
        report = [
            *placer,
            "report",
            "--logs",
            str(logs),
            "--docs",
            str(folder / "docs"),
        ]
        subprocess.run([*report, "--quiet"], check=True)
        is_reported = (folder / "docs" / "benchmarks" / "REPORT.md").exists()
        counts = [
            Counter(r["problem"] for r in lines(logs) if r["kind"] == kind)
            for kind in ("answer", "graded")
        ]
    is_whole = all(set(c.values()) == {1} and len(c) == count for c in counts)
    (score,) = one["scores"]
    print(f"pass@1 {score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})")
    print(f"{one['grades']}, {one['tokens']} tokens in {one['seconds']:.0f} s")
    print(f"each of {count} once: {is_whole}; a report: {is_reported}")
    return int(not (is_right and is_whole and is_reported and left == 0))


if __name__ == "__main__":
    sys.exit(main())
