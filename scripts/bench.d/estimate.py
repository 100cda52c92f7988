"""What one placement needs: placer's formula beside what llama-server takes to say it.

All three are processes of their own, on the phantom of gpt-oss-120b: ``placer
estimate`` for two cards that are only described; the engine's dry run of the same
placement; and ``llama-server --fit on`` left to find a placement on two emulated
devices that do not hold the model. Exit code 1 when the estimate takes 0.3 s or more.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from placer.engine.binary import Engine
from placer.engine.dryrun import MEASURED
from placer.engine.follow import LogFollower
from placer.engine.process import LocalRunner
from placer.testing import EmulatedMachine, bundled_engine
from placer.testing.phantom import write_phantom

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 5
BOUND_S = 0.300
NAME = "gpt-oss-120b-F16"
CAPACITIES_MIB = (23_671, 12_761)
WORKLOAD = ("-c", "131072", "-b", "2048", "-ub", "512", "-np", "1", "-fa", "on")
PLACEMENT = ("-ngl", "99", "-ts", "30,7", "-ncmoe", "20")
PLACER = str(Path(sys.executable).with_name("placer"))
DEVICES = "Vulkan0:24564:23671,Vulkan1:16303:12761"
TIMEOUT_S = 120.0


def estimate_s(model: Path) -> float:
    """One cold run of ``placer estimate``."""
    argv = [PLACER, "estimate", str(model), *WORKLOAD, *PLACEMENT]
    argv += ["--devices", DEVICES, "--json"]
    start = time.perf_counter()
    ended = subprocess.run(argv, capture_output=True, check=False)
    took_s = time.perf_counter() - start
    if ended.returncode != 0:
        raise SystemExit(ended.stderr.decode())
    return took_s


def engine_s(runner: LocalRunner, args: Sequence[str], log: Path) -> float:
    """From the start of llama-server to the line that ends its measuring."""
    start = time.perf_counter()
    process = runner.start([*args, "--fit", "on", "-v"], log_path=log)
    follower = LogFollower(log)
    try:
        while time.perf_counter() - start < TIMEOUT_S:
            if any(MEASURED in line for line in follower.new_lines()):
                return time.perf_counter() - start
            if process.exit_code() is not None:
                raise SystemExit(f"llama-server ended: {' '.join(args)}")
            time.sleep(0.005)
    finally:
        process.stop()
    raise SystemExit("llama-server does not measure")


def main() -> int:
    """0 where the estimate is there within the bound."""
    server = bundled_engine()
    if server is None:
        print("no bundled engine: scripts/setup installs it")
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulated = stack.enter_context(EmulatedMachine(CAPACITIES_MIB))
        model, home = write_phantom(NAME, folder), folder / "home"
        home.mkdir()
        engine = Engine(binary=server, config_home=home, variables=emulated.env)
        runner, log = LocalRunner(engine), folder / "engine.log"
        asked = ("-m", str(model), *WORKLOAD)
        times: dict[str, list[float]] = {}
        for _ in range(RUNS):
            times.setdefault("placer estimate", []).append(estimate_s(model))
            dry = engine_s(runner, [*asked, *PLACEMENT], log)
            times.setdefault("engine's dry run", []).append(dry)
            fit = engine_s(runner, asked, log)
            times.setdefault("llama-server --fit on", []).append(fit)
    base = median(times["placer estimate"])
    for name, found in times.items():
        print(f"{name:<24} {median(found):6.3f} s  {median(found) / base:5.1f} x")
    return 0 if base < BOUND_S else 1


if __name__ == "__main__":
    sys.exit(main())
