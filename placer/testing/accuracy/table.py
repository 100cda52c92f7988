"""The table of errors, worst first, as a page."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from placer.testing.accuracy.compare import shares_of
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from placer.testing.accuracy.compare import Comparison, Shares
    from placer.testing.accuracy.truth import Truth

N_WORST = 20
INTRODUCTION = """\
# Accuracy of the formula

What `placer estimate` says by formula, beside what the engine's own dry run says
(llama-server of llama.cpp build 11434, two emulated Vulkan devices). Written by
`scripts/accuracy`; worst first.

The models are the {n_tiny} that llama.cpp's own tests are made of, one or more an
architecture, and {n_big} of published shape. Each has every kind of placement, with
workloads that vary context, cache types, slots, physical batch, fused attention,
`--no-kv-offload`, `--no-op-offload` and `--swa-full`; two cases of each draft
(`--spec-type`), which keeps recurrent states and asks for more logits.

- Weights and context are *equal* if they cut down to the whole MiB that the engine
  prints, on every device and on the host.
- Compute buffers are *close* within 10 % or 64 MiB, on every device and on the host,
  and *exact* within 0.1 MiB. *Over* and *under* are the worst of any device.
- Graph splits are *equal* if those of both graphs, prefill and decode, are.
"""
HEAD = (
    "| {0} | cases | weights equal | context equal | compute close | exact | "
    "over MiB | under MiB | splits equal |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def page(comparisons: Sequence[Comparison], refused: Sequence[Truth]) -> str:
    """The whole page, which ends in a line break."""
    models = {c.truth.case.model for c in comparisons}
    tiny = {name for name in models if name.endswith(("-dense", "-moe"))}
    text = INTRODUCTION.format(n_tiny=len(tiny), n_big=len(models - tiny))
    parts = [
        text,
        "\n## All cases\n\n" + HEAD.format("") + _line("all", comparisons),
        _table("model", comparisons, lambda c: c.truth.case.model),
        _table("placement", comparisons, lambda c: c.truth.case.kind),
        _worst(comparisons),
        _refused(refused),
    ]
    return "".join(parts)


def _table(
    title: str, comparisons: Iterable[Comparison], key: Callable[[Comparison], str]
) -> str:
    """One line a value of the key, worst first."""
    groups: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        groups[key(comparison)].append(comparison)
    ordered = sorted(groups.items(), key=lambda group: _badness(group[1]))
    lines = "".join(_line(name, own) for name, own in ordered)
    return f"\n## By {title}\n\n" + HEAD.format(title) + lines


def _badness(own: Sequence[Comparison]) -> tuple[float, ...]:
    """Sorts the worst group first."""
    shares = shares_of(own)
    return (
        shares.weights_equal,
        -shares.context_wrong,
        shares.context_answered,
        shares.compute_close,
        -shares.worst_under_bytes,
        -shares.worst_over_bytes,
        shares.splits_equal,
    )


def _line(name: str, own: Sequence[Comparison]) -> str:
    shares = shares_of(own)
    exact = sum(c.compute_exact for c in own) / (len(own) or 1)
    cells = [
        name,
        str(shares.n_cases),
        _percent(shares.weights_equal),
        _context(shares),
        _percent(shares.compute_close),
        _percent(exact),
        f"{mib(shares.worst_over_bytes):.1f}",
        f"{mib(shares.worst_under_bytes):.1f}",
        _percent(shares.splits_equal),
    ]
    return f"| {' | '.join(cells)} |\n"


def _context(shares: Shares) -> str:
    """The share of right answers among answers, and how many there were."""
    answered = round(shares.context_answered * shares.n_cases)
    if not answered:
        return "ask the engine"
    right = _percent(1 - shares.context_wrong / answered)
    if answered == shares.n_cases:
        return right
    return f"{right} of {answered} answered"


def _percent(share: float) -> str:
    """A share of less than all never reads as all of them."""
    if share == 1:
        return "100 %"
    return f"{min(100 * share, 99.9):.1f} %"


def _worst(comparisons: Iterable[Comparison]) -> str:
    """The cases whose compute buffers are furthest off."""
    off = [c for c in comparisons if not c.compute_exact and c.compute_answered]
    off.sort(key=lambda c: -max(c.worst_under_bytes, c.worst_over_bytes))
    if not off:
        return ""
    lines = [
        f"| {c.truth.case.model} | {mib(c.worst_over_bytes):.1f} | "
        f"{mib(c.worst_under_bytes):.1f} | {c.said.graph_splits} | "
        f"{c.truth.splits} | `{' '.join(c.truth.case.args)}` |\n"
        for c in off[:N_WORST]
    ]
    return (
        f"\n## The {len(lines)} worst compute buffers\n\n"
        "| model | over MiB | under MiB | splits said | splits seen | flags |\n"
        "|---|---:|---:|---:|---:|---|\n" + "".join(lines)
    )


def _refused(refused: Iterable[Truth]) -> str:
    """What the engine would not do: no figure to compare with."""
    by_reason: dict[str, set[str]] = defaultdict(set)
    for truth in refused:
        by_reason[str(truth.refused)].add(truth.case.model)
    if not by_reason:
        return ""
    lines = [
        f"- {reason}: {', '.join(sorted(models))}\n"
        for reason, models in sorted(by_reason.items())
    ]
    return "\n## Refused by the engine\n\n" + "".join(lines)
