"""The formula beside the engine's dry run, over all models, placements and workloads.

accuracy                  against the recorded truth; writes docs/accuracy.md, .svg
accuracy --live           against the bundled engine, or the one that --server names
accuracy --live --record  likewise, and keeps what it said as the recorded truth
accuracy --live --record --resume   ask only for what is not recorded yet
accuracy --only qwen3     models whose name holds this, with every case that is off
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import MachineError, PlacerError
from placer.report.chart import Bar, Chart, Group, Part, svg
from placer.testing import bundled_engine
from placer.testing.accuracy.cases import cases_of
from placer.testing.accuracy.ceilings import missed
from placer.testing.accuracy.compare import Comparison, compare, shares_of
from placer.testing.accuracy.live import LiveEngine
from placer.testing.accuracy.models import KnownModel, big_models, read_models
from placer.testing.accuracy.table import page
from placer.testing.accuracy.truth import Truth, read_truths, write_truths
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "accuracy" / "data"
MODELS = DATA / "architectures.jsonl.gz"
TRUTH = DATA / "truth-11434.jsonl.gz"
PAGE = ROOT / "docs" / "accuracy.md"
PICTURE = "\n![Cases whose compute buffers are exact](accuracy.svg)\n"


def main() -> int:
    """0 where all ceilings hold, 1 where one is missed, else the error's exit code."""
    try:
        return run(arguments())
    except PlacerError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--live", action="store_true", help="ask an engine")
    parser.add_argument("--server", type=Path, help="the llama-server to ask")
    parser.add_argument("--record", action="store_true", help="keep what it says")
    parser.add_argument("--resume", action="store_true", help="ask for the rest only")
    parser.add_argument("--only", metavar="TEXT", help="models whose name holds it")
    parser.add_argument("--all", action="store_true", help="show every case")
    return parser.parse_args()


def run(given: argparse.Namespace) -> int:
    """Compare, show, write."""
    known = [*read_models(MODELS), *big_models()]
    known = [model for model in known if (given.only or "") in model.name]
    kept = list(recorded(known)) if given.resume or not given.live else []
    truths = list(asked(known, given.server, kept)) if given.live else kept
    if given.record and not given.only:
        write_truths(TRUTH, truths)
    comparisons = compared(known, truths)
    show(comparisons, every=given.all, each=given.only is not None)
    refused = [truth for truth in truths if truth.refused is not None]
    print(f"{len(comparisons)} cases, {len(refused)} refused by the engine")
    if given.only:
        return 0
    if not given.live or given.record:
        PAGE.write_text(page(comparisons, refused) + PICTURE)
        PAGE.with_suffix(".svg").write_text(svg(chart(comparisons)), encoding="utf-8")
    reasons = missed(comparisons)
    for reason in reasons:
        print(f"missed: {reason}")
    return 1 if reasons else 0


def recorded(known: list[KnownModel]) -> Iterator[Truth]:
    """The recorded truth of these models."""
    names = {model.name for model in known}
    return (truth for truth in read_truths(TRUTH) if truth.case.model in names)


def asked(
    known: list[KnownModel], server: Path | None, kept: list[Truth]
) -> Iterator[Truth]:
    """The truth of these models from an engine, with a line of progress.

    Cases that are among ``kept`` are not asked again.
    """
    server = server or bundled_engine()
    if server is None:
        raise MachineError("no engine", hint="scripts/setup, or name one by --server")
    answered = {truth.case: truth for truth in kept}
    with LiveEngine(server.resolve()) as engine:
        for at, model in enumerate(known):
            start = time.perf_counter()
            cases = list(cases_of(model.name, model.shape(), at))
            new = [case for case in cases if case not in answered]
            answered |= {truth.case: truth for truth in engine.truths(model, new)}
            took_s = time.perf_counter() - start
            print(
                f"{at + 1:>3}/{len(known)} {model.name:<28} {len(new)} dry runs, "
                f"{took_s:.1f} s",
                file=sys.stderr,
                flush=True,
            )
            yield from (answered[case] for case in cases)


def compared(known: list[KnownModel], truths: list[Truth]) -> list[Comparison]:
    """The formula beside every truth that is one."""
    shapes = {
        (model.name, nextn): model.shape(nextn=nextn)
        for model in known
        for nextn in (False, True)
    }
    return [
        compare(shapes[truth.case.model, truth.case.by_nextn], truth)
        for truth in truths
        if truth.refused is None
    ]


def chart(comparisons: list[Comparison]) -> Chart:
    """How many cases are off by how much, by kind of placement, in per cent."""
    by_kind: dict[str, list[Comparison]] = {}
    for one in comparisons:
        by_kind.setdefault(one.truth.case.kind, []).append(one)
    bars = (share_bar(kind, own) for kind, own in sorted(by_kind.items()))
    return Chart(
        title="Cases whose compute buffers are exact, by placement",
        unit="%",
        groups=(Group(title="", bars=tuple(bars)),),
        legend=(("fits", "exact to 0.1 MiB"), ("compute", "off by more")),
    )


def share_bar(kind: str, own: list[Comparison]) -> Bar:
    """The share that is exact, and the worst of the rest."""
    exact = sum(one.compute_exact for one in own) / len(own) * 100
    worst = max(max(one.worst_over_bytes, one.worst_under_bytes) for one in own)
    rest = "" if exact == 100 else f", {mib(worst):.1f} MiB off at worst"
    return Bar(
        label=kind,
        parts=(Part(kind="fits", value=exact), Part(kind="compute", value=100 - exact)),
        text=f"{exact:.1f} %{rest}",
    )


def show(comparisons: list[Comparison], *, every: bool, each: bool) -> None:
    """A line a model; with ``each`` one for every case that is off, or for all."""
    by_model: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_model.setdefault(comparison.truth.case.model, []).append(comparison)
    for name, own in by_model.items():
        shares = shares_of(own)
        print(
            f"{name:<28} {shares.n_cases:>3} cases: weights {shares.weights_equal:4.0%}"
            f" context wrong {shares.context_wrong:>2}, answered "
            f"{shares.context_answered:4.0%}, compute {shares.compute_close:4.0%} "
            f"(+{mib(shares.worst_over_bytes):.0f} "
            f"-{mib(shares.worst_under_bytes):.0f} MiB), "
            f"splits {shares.splits_equal:4.0%}"
        )
        for comparison in own if each else ():
            if every or not is_right(comparison):
                show_case(comparison)


def is_right(comparison: Comparison) -> bool:
    """Whether every figure is as it should be, compute buffers to 1 MiB."""
    off = max(comparison.worst_over_bytes, comparison.worst_under_bytes)
    return (
        comparison.weights_equal
        and comparison.context_equal is True
        and comparison.compute_answered
        and mib(off) < 1
        and comparison.splits_equal
    )


def show_case(comparison: Comparison) -> None:
    """What was said of each part, and what was seen."""
    case = comparison.truth.case
    said, seen = comparison.said.graph_splits, comparison.truth.splits
    print(f"  {case.kind}: {' '.join(case.args)}")
    print(f"    graph splits: said {said}, seen {seen}")
    for row in comparison.rows:
        weights = f"{mib(row.said.model_bytes):.2f} : {row.seen.model_mib}"
        context = f"{shown(row.said.context_bytes)} : {row.seen.context_mib}"
        compute = f"{shown(row.said.compute_bytes)} : {mib(row.seen.compute_bytes):.2f}"
        print(
            f"    {row.name:<8} said : seen MiB  weights {weights}, "
            f"context {context}, compute {compute}"
        )


def shown(n_bytes: int | None) -> str:
    """MiB, or that it is not known."""
    return "?" if n_bytes is None else f"{mib(n_bytes):.2f}"


if __name__ == "__main__":
    sys.exit(main())
