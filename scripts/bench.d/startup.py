"""How long a person waits for nothing: the command's start, beside Python's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RUNS = 15
BOUND_S = 0.150
PLACER = str(Path(sys.executable).with_name("placer"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "placer --version": [PLACER, "--version"],
    "placer --help": [PLACER, "--help"],
    "placer optimize --help": [PLACER, "optimize", "--help"],
}


def seconds(argv: list[str]) -> float:
    """One run."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    """0 where the help is there within the bound."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, argv in COMMANDS.items():
            times[name].append(seconds(argv))
    base = median(times["python -c pass"])
    for name, found in times.items():
        print(f"{name:<24} {median(found):6.3f} s  {median(found) / base:4.1f} x")
    return 0 if median(times["placer --help"]) < BOUND_S else 1


if __name__ == "__main__":
    sys.exit(main())
