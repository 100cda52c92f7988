"""A thousand simulated searches, each answer held to the best that there is.

``placer.testing.simulated`` makes the models and machines, and says what is right: to
one per cent, or to what the packer says that it may have missed. Beside the launches of
the search stand those of plain bisection, of how much of the free memory is used. Exit
code 1 when an answer is wrong, the median is above 3 or the worst above 6. The number
of searches can be given.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from placer.testing.simulated import EXCESS, bisected, random_truth, simulate

SEARCHES = 1000
MEDIAN, WORST = 3, 6


def one(seed: int) -> tuple[int, bool, int, bool]:
    """Launches and rightness of the search, and the same of bisection."""
    truth = random_truth(seed)
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(truth, Path(folder))
    launches, excess = bisected(truth)
    gap = EXCESS if found.best is None else max(EXCESS, found.best.gap)
    return found.launches, found.is_right, launches, excess <= gap


def main() -> int:
    """Print both in one table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else SEARCHES
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(one, range(n), chunksize=8))
    counts = [launches for launches, *_ in found]
    right = sum(is_right for _, is_right, *_ in found)
    halved = [launches for *_, launches, _ in found]
    halved_right = sum(is_right for *_, is_right in found)
    print(f"{n} searches   median  worst  right")
    print(f"placer         {median(counts):6.0f} {max(counts):6d}  {right}")
    print(f"bisection      {median(halved):6.0f} {max(halved):6d}  {halved_right}")
    spread = sorted(Counter(counts).items())
    print("launches:", ", ".join(f"{launches}: {times}" for launches, times in spread))
    is_bad = right < n or median(counts) > MEDIAN or max(counts) > WORST
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
