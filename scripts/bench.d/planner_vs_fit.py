"""placer's plans beside those of ``llama-server --fit``, on the same emulated devices.

Both plan the same workloads with the same margins; the engine's dry run says what each
plan would leave free. Writes docs/planner-vs-fit.md and its chart. Exit code 1 where a
plan does not keep its margins, leaves more expert bytes per token on the CPU than
--fit, or has more graph splits.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.app import PlanOptions, Request, Where, plan
from placer.report.chart import Bar, Chart, Group, Part, svg
from placer.testing.accuracy.models import big_models
from placer.testing.phantom import write_phantom
from placer.testing.phantom_shapes import PHANTOMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.app import Plan, Rated

DOCS = Path(__file__).resolve().parents[2] / "docs" / "planner-vs-fit.md"
MARGIN_MIB = 512
MIB = 1024 * 1024
# The profiles of models.conf, at production and at bench settings.
PRODUCTION = {
    "GLM-4.7-Flash-Q4_K_M": (131_072, 4096, 1024),
    "GLM-4.7-Flash-Q8_0": (131_072, 4096, 1024),
    "gpt-oss-120b-F16": (65_536, 2048, 512),
    "Qwen3-Coder-Next-UD-Q5_K_XL": (262_144, 2048, 512),
    "Qwen3-Coder-Next-UD-Q6_K_XL": (262_144, 2048, 512),
}
BENCH = (10_240, 512, 512)
DESKTOP = (23_671, 12_761)
OTHERS = {
    "Qwen3-235B-A22B": ((24_576, 12_288), (24_576, 16_384, 8192)),
    "DeepSeek-V3": ((24_576,) * 4, (24_576, 16_384, 8192)),
    "Mixtral-8x7B": ((24_576,), (12_288, 12_288)),
    "Llama-3.1-70B": ((24_576, 24_576), (24_576, 12_288)),
    "Gemma-3-27B": ((16_384,), (12_288, 8192)),
}
OTHER = (32_768, 2048, 512)
HEAD = """# placer's plans beside `--fit`

Made by `scripts/bench`. Both plan the same workload on the same emulated Vulkan devices
with {margin} MiB to be left free on each, asked of llama-server build {build}; all
figures of memory and graph splits are its dry run's. Nothing was loaded: tokens per
second are predictions of placer's speed model, the same for both, with devices of equal
bandwidth (that of emulated devices is assumed).

- *left*: MiB that the tightest device keeps free; under {margin} is too little.
- *CPU*: MiB of experts that one token reads from the CPU's memory.
- *splits*: of the graph of a full batch and of a single token.
- *s*: seconds that planning took, placer's dry runs included; `--fit`'s from the
  engine's start to its answer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One workload on one machine."""

    model: str
    capacities_mib: tuple[int, ...]
    setting: tuple[int, int, int]


def cases() -> Iterator[Case]:
    """All of them."""
    for model, production in PRODUCTION.items():
        for setting in (production, BENCH):
            yield Case(model=model, capacities_mib=DESKTOP, setting=setting)
    for model, machines in OTHERS.items():
        for capacities in machines:
            yield Case(model=model, capacities_mib=capacities, setting=OTHER)


def main() -> int:
    """0 where placer keeps its word in all cases."""
    rows, bad = [], []
    build = ""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLACER_LEDGER"] = str(Path(folder) / "ledger.jsonl")
        models = {k.name: k for k in big_models()}
        for case in cases():
            path = Path(folder) / f"{case.model}.gguf"
            if case.model in PHANTOMS:
                path = write_phantom(case.model, Path(folder))
            elif not path.exists():
                models[case.model].write(path)
            found = planned(case, path)
            build = found.machine.engine_build or ""
            rows.append((case, found))
            wrong = complaints(found)
            bad += [f"{case.model} on {gib(case)}: {what}" for what in wrong]
            print(line_of(case, found), *wrong, sep="\n  ", flush=True)
    DOCS.write_text(page(rows, bad, build), encoding="utf-8")
    times = [
        (f"{case.model}, {gib(case)} GiB, {setting_text(case)}", *seconds(found))
        for case, found in rows
    ]
    DOCS.with_suffix(".svg").write_text(svg(chart(times)), encoding="utf-8")
    return 1 if bad else 0


def planned(case: Case, path: Path) -> Plan:
    """The plan with its baselines."""
    ctx, batch, ubatch = case.setting
    request = Request(
        values={
            "ctx": ctx,
            "batch": batch,
            "ubatch": ubatch,
            "parallel": 1,
            "type_k": "q8_0",
            "type_v": "q8_0",
            "flash_attn": "on",
        }
    )
    where = Where(emulate=case.capacities_mib)
    return plan(str(path), where, request, PlanOptions(margins_mib=(MARGIN_MIB,)))


def complaints(found: Plan) -> list[str]:
    """What placer did not keep of its word."""
    ours, fit = found.candidates[0], found.fit
    wrong = []
    if ours.dry_run is None:
        wrong.append("no dry run")
    if left_mib(ours) < MARGIN_MIB:
        wrong.append(f"leaves {left_mib(ours):.0f} MiB")
    if fit is None:
        return [*wrong, "--fit gave no answer"]
    if per_token(found, ours) > per_token(found, fit):
        wrong.append("more experts on the CPU than --fit")
    one, other = splits(ours), splits(fit)
    if left_mib(fit) >= MARGIN_MIB and any(
        a > b for a, b in zip(one, other, strict=True)
    ):
        wrong.append(f"graph splits {one} against {other}")
    return wrong


def left_mib(rated: Rated) -> float:
    """What the tightest device that holds anything keeps free."""
    pairs = zip(rated.headroom_bytes, rated.best.devices, strict=True)
    return min(left for left, held in pairs if held.total_bytes) / MIB


def per_token(found: Plan, rated: Rated) -> float:
    """MiB of experts that a token reads from the CPU's memory."""
    shape = found.target.shape
    share = shape.n_expert_used / max(shape.n_expert, 1)
    return rated.expert_bytes_on_host * share / MIB


def splits(rated: Rated) -> tuple[int, int]:
    """Graph splits of a full batch and of a token."""
    return rated.best.graph_splits or (0, 0)


def gib(case: Case) -> str:
    """The machine in GiB."""
    return "+".join(f"{mib / 1024:.3g}" for mib in case.capacities_mib)


def cells(found: Plan, rated: Rated | None) -> list[str]:
    """The figures of one plan."""
    if rated is None:
        return ["-"] * 5
    one, two = splits(rated)
    return [
        rated.candidate.strategy.value,
        f"{left_mib(rated):.0f}",
        f"{per_token(found, rated):.0f}",
        f"{one}/{two}",
        f"{rated.candidate.speed.decode.mid:.1f}",
    ]


def setting_text(case: Case) -> str:
    """Context and batches."""
    ctx, batch, ubatch = case.setting
    return f"{ctx // 1024}K/{batch}/{ubatch}"


def seconds(found: Plan) -> tuple[float, float | None]:
    """What planning took placer, and what it took --fit if it answered."""
    return found.seconds + found.dry_run_seconds, found.fit_seconds


def row(case: Case, found: Plan) -> list[str]:
    """A row of the table."""
    ours_s, fit_s = seconds(found)
    return [
        case.model,
        gib(case),
        setting_text(case),
        *cells(found, found.candidates[0]),
        f"{ours_s:.2f}",
        *cells(found, found.fit),
        "-" if fit_s is None else f"{fit_s:.2f}",
    ]


def chart(times: list[tuple[str, float, float | None]]) -> Chart:
    """How long each plan took, placer's above --fit's."""
    groups = []
    for name, ours_s, fit_s in times:
        bars = [(name, "answer", ours_s), ("--fit", "rival", fit_s)]
        groups.append(Group(title="", bars=tuple(bar(*one) for one in bars)))
    return Chart(
        title="How long planning took",
        unit="s",
        groups=tuple(groups),
        legend=(("answer", "placer, dry runs included"), ("rival", "--fit")),
    )


def bar(label: str, kind: str, took_s: float | None) -> Bar:
    """One plan's time; without an answer no bar, and a dash."""
    if took_s is None:
        return Bar(label=label, parts=(), text="-")
    parts = (Part(kind=kind, value=took_s),)
    return Bar(label=label, parts=parts, text=f"{took_s:.2f}")


def line_of(case: Case, found: Plan) -> str:
    """The row for a terminal."""
    return "  ".join(row(case, found))


def page(rows: list[tuple[Case, Any]], bad: list[str], build: str) -> str:
    """The document."""
    heads = ["model", "GiB", "context/-b/-ub"]
    for name in ("placer", "--fit"):
        parts = ("", "left", "CPU", "splits", "t/s", "s")
        heads += [f"{name} {part}".strip() for part in parts]
    table = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3)]
    table += [row(case, found) for case, found in rows]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    pairs = [
        (per_token(found, found.candidates[0]), per_token(found, found.fit))
        for _, found in rows
        if found.fit is not None
    ]
    fewer = sum(ours < theirs for ours, theirs in pairs)
    some = sum(theirs > 0 for _, theirs in pairs)
    text = HEAD.format(margin=MARGIN_MIB, build=build)
    text += "\n" + "\n".join(lines) + "\n\n"
    text += f"![How long planning took]({DOCS.stem}.svg)\n\n"
    text += (
        f"In {some} cases `--fit` leaves experts on the CPU. placer leaves fewer there "
        f"in {fewer} of them, and never more.\n"
    )
    if bad:
        text += "\nNot kept:\n\n" + "\n".join(f"- {what}" for what in bad) + "\n"
    return text


if __name__ == "__main__":
    sys.exit(main())
