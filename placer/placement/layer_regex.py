"""Layer numbers <-> the shortest regex that a profile file can hold."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def layers_regex(layers: Iterable[int]) -> str:
    """A regex that matches exactly these numbers: ``([0-9]|1[0-2])``.

    No comma, space, quote or ``$``, so that it survives ``-ot`` and an unquoted shell
    expansion. Raises ValueError for an empty set.
    """
    by_ten: dict[int, set[int]] = defaultdict(set)
    for layer in layers:
        by_ten[layer // 10].add(layer % 10)
    if not by_ten:
        raise ValueError("no layers to match")
    by_units: dict[frozenset[int], list[int]] = defaultdict(list)
    alternatives: list[tuple[int, str]] = []
    for ten, units in sorted(by_ten.items()):
        if 1 <= ten <= 9:
            by_units[frozenset(units)].append(ten)
        else:
            prefix = str(ten) if ten else ""
            alternatives.append((ten, prefix + _digit_class(units)))
    for digits, tens in by_units.items():
        alternatives.append((tens[0], _digit_class(tens) + _digit_class(digits)))
    parts = [text for _, text in sorted(alternatives)]
    return parts[0] if len(parts) == 1 else f"({'|'.join(parts)})"


def _digit_class(digits: Iterable[int]) -> str:
    """``{3}`` -> ``3``; ``{3,4}`` -> ``[34]``; ``{0,1,2,7}`` -> ``[0-27]``."""
    ordered = sorted(digits)
    if len(ordered) == 1:
        return str(ordered[0])
    runs: list[list[int]] = []
    for digit in ordered:
        if runs and runs[-1][-1] == digit - 1:
            runs[-1].append(digit)
        else:
            runs.append([digit])
    return f"[{''.join(_run(run) for run in runs)}]"


def _run(run: list[int]) -> str:
    if len(run) <= 2:
        return "".join(map(str, run))
    return f"{run[0]}-{run[-1]}"
