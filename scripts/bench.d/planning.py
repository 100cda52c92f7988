"""What a plan of a deep model needs: placer's beside that of ``llama-server --fit``.

A model of 94 layers with 128 experts each, on two devices that hold a seventh of it.
Three times side by side: ``placer plan`` for devices that are only described; the same
on emulated ones, where the engine's dry runs confirm it; and ``--fit`` from the start
of the engine to its answer. Exit code 1 where planning takes 0.1 s or more, or a tenth
of ``--fit``'s time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from placer.testing.accuracy.models import big_models

RUNS = 3
MODEL = "Qwen3-235B-A22B"
BOUND_S, SHARE = 0.100, 0.1
WORKLOAD = "-c 32768 -b 2048 -ub 512 -np 1 -ctk q8_0 -ctv q8_0 -fa on --margin 512"
DESCRIBED = ("--devices", "Vulkan0:24576,Vulkan1:12288")
EMULATED = ("--emulate", "24576,12288")
PLACER = str(Path(sys.executable).with_name("placer"))


def plan(model: Path, *where: str) -> dict[str, Any]:
    """What ``placer plan --json`` prints."""
    argv = [PLACER, "plan", str(model), *WORKLOAD.split(), *where, "--json"]
    ended = subprocess.run(argv, capture_output=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(ended.stderr.decode())
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def main() -> int:
    """0 where planning keeps its bounds."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLACER_LEDGER"] = str(Path(folder) / "ledger.jsonl")
        model = Path(folder) / f"{MODEL}.gguf"
        next(k for k in big_models() if k.name == MODEL).write(model)
        for _ in range(RUNS):
            bare = plan(model, *DESCRIBED, "--no-baselines")
            found = plan(model, *EMULATED)
            rows = {
                "placer plan, no engine": bare["seconds"],
                "placer plan, with one": found["seconds"],
                "its dry runs": found["dry_run_seconds"],
                "llama-server --fit on": found["fit_seconds"],
            }
            for name, seconds in rows.items():
                times.setdefault(name, []).append(seconds)
    base = median(times["placer plan, no engine"])
    for name, seen in times.items():
        print(f"{name:<24} {median(seen):6.3f} s  {median(seen) / base:5.1f} x")
    fit_s = median(times["llama-server --fit on"])
    planned_s = median(times["placer plan, with one"])
    confirmed_s = planned_s + median(times["its dry runs"])
    print(f"with dry runs {confirmed_s / fit_s:.3f} of --fit's time")
    good = base < BOUND_S and planned_s <= SHARE * fit_s
    print(f"{'ok' if good else 'MISSED'}: under {BOUND_S} s, and {SHARE} of --fit's")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
