"""Journals of three searches, written as a search writes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from placer.app.contest import ANSWER, FIT, ONE_GPU, Entrant, entrant_record
from placer.engine.client import Completion
from placer.engine.judge import Cause, Outcome, Verdict
from placer.engine.log import Buffer, LogFacts, Phase
from placer.engine.observation import Observation, Stage
from placer.measure import Contender, Standing
from placer.measure.compare import Comparison, Figure, Margin, Rate, standing_record
from placer.memory import MemoryBreakdown, MemoryEstimate
from placer.placement import Placement, Strategy, Workload
from placer.search.journal import SCHEMA, Journal
from placer.search.limits import Limit
from placer.search.search import TOOK_DOWN
from placer.search.trial import Probe, Trial, probe_record, trial_record
from placer.speed import Interval, Speed
from placer.speed.predict import Spent
from placer.speed.times import Times
from placer.units import MIB, from_mib

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = ("Vulkan0", "Vulkan1")
FREE_MIB = (356, 285)
WORKLOAD = Workload(ctx=8192, batch=2048, ubatch=512, type_k="q8_0", type_v="q8_0")
# Twelve layers of these sizes, three tensors of experts in each, and the output as the
# thirteenth slot.
DENSE_MIB, EXPERT_MIB, CONTEXT_MIB, OUTPUT_MIB = 4.25, 18.5, 1.0625, 24.0
COMPUTE_MIB = (30.25, 20.5)
SPEED = Speed(
    decode=Interval.around(48.0, (0.8, 1.2)),
    prefill=Interval.around(1100.0, (0.5, 1.6)),
    depth=512,
    spent=Spent(by_home=(Times(), Times(), Times()), hops=Times()),
)
PHASES = (Phase.WEIGHTS, Phase.CONTEXT, Phase.COMPUTE)

Pair = tuple[int, int]


def header(profile: str, started: str, **changes: Any) -> dict[str, Any]:
    """The first record of a journal, like that of ``placer.app.study``."""
    record = {
        "schema": SCHEMA,
        "profile": profile,
        "started": started,
        "model": {
            "name": f"{profile}-f16.gguf",
            "architecture": "qwen3moe",
            "shards": 1,
            "size_bytes": from_mib(763.4),
            "n_layer": 12,
            "fingerprint": "0123456789abcdef",
        },
        "workload": asdict(WORKLOAD),
        "extra_args": [],
        "devices": [
            {
                "name": name,
                "description": "Some | Card",
                "total_bytes": (free + 4) * MIB,
                "free_bytes": free * MIB,
                "driver": "565.77",
            }
            for name, free in zip(NAMES, FREE_MIB, strict=True)
        ],
        "engine": "10434 (7e4c0a9)",
        "proof": "full",
        "goal": "decode",
        "margins_bytes": [0, 0],
        "by_launch": False,
    }
    return record | changes


def triples(slots: Pair, kept: Pair | None) -> list[tuple[float, float, float]]:
    """MiB of weights, context and compute of each device, the host last."""
    kept = kept or (0, 0)
    found = []
    for index, n_slots in enumerate(slots):
        layers = n_slots - (1 if index else 0)
        weights = layers * DENSE_MIB + kept[index] * EXPERT_MIB
        weights += OUTPUT_MIB if index else 0
        found.append((weights, layers * CONTEXT_MIB, COMPUTE_MIB[index]))
    host = (36 - sum(kept)) * EXPERT_MIB + OUTPUT_MIB
    return [*found, (host, 0.0, 10.3)]


def estimate(slots: Pair, kept: Pair | None, source: str) -> MemoryEstimate:
    """The formula knows no compute of the host; the dry run cuts to whole MiB."""
    is_formula = source == "formula"
    rows = [
        MemoryBreakdown(
            model_bytes=from_mib(weights if is_formula else int(weights)),
            context_bytes=from_mib(context if is_formula else int(context)),
            compute_bytes=from_mib(compute - 2 if is_formula else int(compute)),
        )
        for weights, context, compute in triples(slots, kept)
    ]
    *devices, host = rows
    if is_formula:
        host = MemoryBreakdown(
            model_bytes=host.model_bytes, context_bytes=0, compute_bytes=None
        )
    return MemoryEstimate(
        devices=tuple(devices),
        host=host,
        source=source,
        graph_splits=None if is_formula else (26, 40),
    )


def probe(
    number: int,
    kept: Pair | None,
    *,
    strategy: Strategy = Strategy.EXPERTS_ON_CPU,
    slots: Pair = (7, 6),
    will_dry_run: bool = True,
    speed: Speed | None = SPEED,
) -> Probe:
    """A question about the twelve layers."""
    flags = ["-ngl", "13", "-ts", ",".join(map(str, slots))]
    if kept is not None:
        flags += ["-ot", rf"blk\.[{kept[0] % 10}-9]\.ffn_(up|down)_exps=CPU"]
    return Probe(
        number=number,
        strategy=strategy,
        placement=Placement(split=slots),
        kept=kept,
        args=("-m", "/home/jo/my models/tiny.gguf", *WORKLOAD.args(), *flags),
        formula=estimate(slots, kept, "formula"),
        dry_run=estimate(slots, kept, "dry-run") if will_dry_run else None,
        purpose="one step more",
        speed=speed,
    )


def buffers(question: Probe, *allocated: Phase) -> tuple[Buffer, ...]:
    """What the log reports of the phases that were finished."""
    owners = (*NAMES, "CPU_Mapped")
    first, second = question.placement.split
    kept = None if question.kept is None else (question.kept[0], question.kept[1])
    held = triples((first, second), kept)
    return tuple(
        Buffer(device=owner, phase=phase, n_bytes=from_mib(sizes[index]))
        for index, phase in enumerate(PHASES)
        if phase in allocated
        for owner, sizes in zip(owners, held, strict=True)
        if sizes[index]
    )


def seen(
    question: Probe, *allocated: Phase, stage: Stage = Stage.STARTED, **facts: Any
) -> Observation:
    """A launch that got as far as the stage."""
    known: dict[str, Any] = {
        "exit_code": 1 if stage is Stage.STARTED else None,
        "load_s": None if stage is Stage.STARTED else 3.21,
        "total_s": 2.5 + question.number,
    }
    return Observation(
        stage=stage,
        stalled=False,
        answer_error=None,
        facts=LogFacts(
            buffers=buffers(question, *allocated),
            graph_splits=(26, 40) if Phase.COMPUTE in allocated else None,
        ),
        free_bytes=tuple(free * MIB for free in FREE_MIB),
        **(known | facts),
    )


def oom(
    outcome: Outcome,
    device: str | None,
    asked_mib: float | None,
    free_mib: float | None,
    *evidence: str,
) -> Verdict:
    """Out of memory on a device."""
    return Verdict(
        outcome=outcome,
        device=device,
        asked_bytes=None if asked_mib is None else from_mib(asked_mib),
        free_bytes=None if free_mib is None else from_mib(free_mib),
        evidence=evidence,
    )


def failed_line(device: str, asked_mib: float) -> str:
    """The engine's words for it."""
    return (
        "0.00.316.420 E alloc_tensor_range: failed to allocate "
        f"{device} buffer of size {from_mib(asked_mib)}"
    )


def write_journal(folder: Path, head: dict[str, Any], records: Sequence[Any]) -> Path:
    """A journal of trials, launches that were not answered, and other records."""
    journal = Journal(folder)
    journal.append("study", head)
    for record in records:
        if isinstance(record, Probe):
            journal.append("launching", probe_record(record))
        elif isinstance(record, Trial):
            journal.append("launching", probe_record(record.probe))
            journal.append("trial", trial_record(record))
        else:
            kind, content = record
            journal.append(kind, content)
    journal.close()
    return journal.path


def skipped(strategy: Strategy, device: str | None, mib: float) -> tuple[str, Any]:
    """A strategy that is too big by formula."""
    return "skipped", {
        "strategy": strategy.value,
        "device": device,
        "short_bytes": from_mib(mib),
        "source": "formula",
    }


def end(
    best: int | None, stopped: str | None, launches: int, *limits: Limit
) -> tuple[str, Any]:
    """The last record of a search."""
    return "end", {
        "best": best,
        "stopped": stopped,
        "launches": launches,
        "limits": [limit.record() for limit in limits],
    }


def limit(device: int, mib: tuple[float, float, float, float]) -> Limit:
    """What the answer needs of a device, has left, would need more; what it refused."""
    needs, left, step, refused = map(from_mib, mib)
    return Limit(
        device=NAMES[device],
        needs_bytes=needs,
        left_bytes=left,
        step_bytes=step,
        refused_bytes=refused,
    )


def contest_records() -> list[tuple[str, Any]]:
    """The answer beside ``--fit``; one GPU could not hold it."""
    entrants = [
        Entrant(
            contender=Contender(name=ANSWER, args=("-ngl", "13")),
            placement=Placement(split=(7, 6)),
        ),
        Entrant(
            contender=Contender(name=FIT, args=(), fit_margins_bytes=(0, 0)),
            placement=None,
        ),
        Entrant(
            contender=Contender(name=ONE_GPU, args=()),
            placement=None,
            absent="nothing fits so, by formula",
        ),
    ]
    figures = [
        Figure(
            contender=name,
            depth=depth,
            prefill=Rate(tokens_per_s=read, half_width=0.02),
            decode=Rate(tokens_per_s=written, half_width=0.01),
        )
        for name, depth, read, written in (
            (ANSWER, 0, 1004.0, 46.5),
            (FIT, 0, 951.0, 40.25),
            (ANSWER, 7680, 803.5, 41.5),
            (FIT, 7680, 760.25, 36.5),
        )
    ]
    faster = Comparison(
        rival=FIT, margin=Margin(low=0.121, mid=0.146, high=0.172), confidence=0.99951
    )
    found = Standing(
        answer=ANSWER,
        rounds=3,
        depths=(0, 7680),
        figures=tuple(figures),
        comparisons=(faster,),
        failed={},
    )
    asked = {"goal": "decode", "contenders": [entrant_record(e) for e in entrants]}
    return [
        ("contest", asked),
        ("contested", {"ended": "clear", **standing_record(found)}),
    ]


def out_of_memory_in_each_phase() -> list[Trial]:
    """Four launches that ran out of memory, each in another phase."""
    first, second, third = probe(1, (18, 12)), probe(2, (15, 12)), probe(3, (15, 11))
    last = probe(5, (12, 12), slots=(4, 9), will_dry_run=False)
    return [
        Trial(
            probe=first,
            observation=seen(first),
            verdict=oom(
                Outcome.OOM_WEIGHTS,
                "Vulkan0",
                362.75,
                356,
                failed_line("Vulkan0", 362.75),
            ),
        ),
        Trial(
            probe=second,
            observation=seen(second, Phase.WEIGHTS, Phase.CONTEXT),
            verdict=oom(
                Outcome.OOM_COMPUTE,
                "Vulkan1",
                20.5,
                12.4375,
                failed_line("Vulkan1", 20.5),
            ),
        ),
        Trial(
            probe=third,
            observation=seen(third, *PHASES, stage=Stage.LOADED, exit_code=-6),
            verdict=oom(
                Outcome.OOM_IN_USE,
                "Vulkan0",
                64,
                11.0625,
                failed_line("Vulkan0", 64),
                "/home/jo/src/ggml-vulkan.cpp:3411: `allocate` | '/home/jo/my models"
                "/tiny.gguf': ErrorOutOfDeviceMemory",
            ),
        ),
        Trial(
            probe=last,
            observation=seen(last, Phase.WEIGHTS),
            verdict=oom(
                Outcome.OOM_CONTEXT,
                "Vulkan1",
                8.5,
                5,
                failed_line("Vulkan1", 8.5),
            ),
        ),
    ]


def fitting(question: Probe) -> Trial:
    """A launch that was filled and decoded."""
    speed = Completion(
        prompt_tokens=512,
        prompt_tokens_per_s=1000.0,
        decoded_tokens=16,
        decoded_tokens_per_s=45.25,
    )
    return Trial(
        probe=question,
        observation=seen(
            question,
            *PHASES,
            stage=Stage.DECODED,
            peak_bytes=(from_mib(337.625), from_mib(278)),
            prompt_tokens=8120,
            prompt_tokens_per_s=1204.06,
            single=speed,
        ),
        verdict=Verdict(outcome=Outcome.FITS),
    )


def write_proved(logs: Path) -> Path:
    """Out of memory in all phases, and an answer with experts on the CPU."""
    first, second, third, last = out_of_memory_in_each_phase()
    limits = (
        limit(0, (326.4375, 18.375, 18.5, 344.9375)),
        limit(1, (274.5625, 7, 18.5, 293.0625)),
    )
    return write_journal(
        logs / "tiny-moe" / "20261123-140211",
        header("tiny-moe", "2026-11-23T14:02:11+00:00"),
        [
            skipped(Strategy.ONE_GPU, "Vulkan0", 410.65),
            skipped(Strategy.ONE_GPU, "Vulkan1", 481.65),
            skipped(Strategy.LAYERS, None, 112.25),
            *(first, second, third, fitting(probe(4, (14, 11))), last),
            end(4, None, 5, *limits),
            *contest_records(),
        ],
    )


def write_broken_off(logs: Path) -> Path:
    """A later search of the same profile, which went on, and was killed at a record."""
    question, taken = probe(1, (14, 11), speed=None), probe(3, (15, 11))
    spoiled, again = probe(4, (14, 12)), probe(5, (14, 12))
    killed = Verdict(
        outcome=Outcome.CRASHED,
        evidence=("killed by SIGKILL: the host may be out of memory",),
        cause=Cause.KILLED,
    )
    head = header(
        "tiny-moe",
        "2026-11-24T09:00:00+00:00",
        extra_args=["--lora", "/home/jo/adapters/mine.gguf"],
        margins_bytes=[0, 8 * MIB],
        by_launch=True,
    )
    path = write_journal(
        logs / "tiny-moe" / "20261124-090000",
        head,
        [
            fitting(question),
            Trial(
                probe=probe(2, (15, 11)),
                observation=seen(probe(2, (15, 11)), exit_code=-9),
                verdict=killed,
            ),
            taken,
            ("resumed", head | {"started": "2026-11-24T10:00:00+00:00"}),
            (
                "passed-over",
                {"args": list(taken.args), "why": TOOK_DOWN},
            ),
            Trial(
                probe=spoiled,
                observation=seen(spoiled),
                verdict=Verdict(
                    outcome=Outcome.SPOILED,
                    device="Vulkan0",
                    evidence=("another process took 20 MiB of Vulkan0 meanwhile",),
                ),
            ),
            fitting(again),
        ],
    )
    with path.open("ab") as file:
        file.write(b'{"kind": "trial", "number": 6, "verd')
    return path


def write_found_nothing(logs: Path) -> Path:
    """Not even the first layer fits, and the log does not say where."""
    question = probe(
        1, None, strategy=Strategy.LAYERS_ON_CPU, slots=(1, 1), will_dry_run=False
    )
    said = (
        "no placement of tiny-dense was seen to fit: the nearest miss is layers over "
        "the GPUs, 112 MiB short on each device by formula; lower --ctx, -ub or the "
        "cache types, or free memory"
    )
    return write_journal(
        logs / "tiny-dense" / "20261122-080000",
        header("tiny-dense", "2026-11-22T08:00:00+00:00"),
        [
            skipped(Strategy.LAYERS, None, 112.25),
            Trial(
                probe=question,
                observation=seen(question),
                verdict=oom(Outcome.OOM_WEIGHTS, None, None, None),
            ),
            end(None, said, 1),
        ],
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with the three journals."""
    folder = tmp_path / "search_logs"
    for write in (write_proved, write_broken_off, write_found_nothing):
        write(folder)
    return folder
