"""The answer of a search: its flags, what it holds, how fast it is."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from placer.engine.observation import Stage
from placer.report.figures import (
    DASH,
    count_text,
    graph_splits_text,
    interval_text,
    kept_text,
    mib_text,
    predicted_rate,
    rate_text,
    strategy_text,
)
from placer.report.held import HOST, Held, said_by, seen_in
from placer.report.paths import without_folders
from placer.report.table import figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placer.search.records import StudyRecord

LINE_STARTS = frozenset({"-ngl", "-ot"})
FENCE = "```"
MEMORY = (
    *text_columns("device", "says"),
    *figure_columns("weights", "context", "compute", "total", "left"),
)
SPEED = (
    *text_columns("says"),
    *figure_columns(
        "graph splits", "prefill t/s", "ubatch t/s", "decode t/s", "load s", "total s"
    ),
)
READ = {
    Stage.LOADED.title: "load; its context was not filled",
    Stage.PROMPTED.title: "load and to read {tokens} tokens of prompts; its context "
    "was not filled",
    Stage.FILLED.title: "load and to fill {tokens} tokens of context; not to go on",
    Stage.REFILLED.title: "load and to fill {tokens} tokens of context; not to decode",
    Stage.DECODED.title: "load, to fill {tokens} tokens of context and to decode",
}


def answer_sentence(study: StudyRecord, best: Mapping[str, Any]) -> str:
    """What was found, and how far it was seen to go."""
    names = " + ".join(plain(device["name"]) for device in study.header["devices"])
    slots = " + ".join(map(str, best["slots"]))
    title = strategy_text(best)
    experts = ""
    if best["kept"] is not None:
        experts = f", with {kept_text(best)} on the GPUs"
    seen = READ.get(best["stage"], "load").format(
        tokens=count_text(best["prompt_tokens"])
    )
    return (
        f"**{title[:1].upper()}{title[1:]}** (strategy {plain(best['strategy'])}), "
        f"{slots} slots on {names}{experts}. Trial {best['number']} was seen to {seen}."
    )


def flags_block(trial: Mapping[str, Any]) -> str:
    """The flags of the launch for a shell, without the model."""
    lines: list[list[str]] = [[]]
    for arg in _without_model(trial["args"]):
        if arg in LINE_STARTS and lines[-1]:
            lines.append([])
        lines[-1].append(without_folders(arg, trial["args"]))
    text = " \\\n".join(map(shlex.join, lines))
    return f"{FENCE}sh\n{text}\n{FENCE}"


def memory_table(study: StudyRecord, trial: Mapping[str, Any]) -> str:
    """MiB of each device, a row for each source, so that none passes for another."""
    return table(MEMORY, list(_memory_rows(study, trial)))


def speed_table(trial: Mapping[str, Any]) -> str:
    """Graph splits and speeds, a row for each source: prediction is no measurement."""
    said = trial["dry_run"]
    splits = None if said is None else said["graph_splits"]
    predicted = [
        interval_text(predicted_rate(trial, f"{name}_tokens_per_s"))
        for name in ("prefill", "decode")
    ]
    measured = [
        trial["prompt_tokens_per_s"],
        trial["prefill_tokens_per_s"],
        trial["decode_tokens_per_s"],
        trial["load_s"],
        trial["total_s"],
    ]
    return table(
        SPEED,
        [
            ["dry run", graph_splits_text(splits), *[DASH] * 5],
            ["predicted", DASH, DASH, *predicted, DASH, DASH],
            [
                "observed",
                graph_splits_text(trial["graph_splits"]),
                *map(rate_text, measured),
            ],
        ],
    )


def _memory_rows(study: StudyRecord, trial: Mapping[str, Any]) -> Iterator[list[str]]:
    devices = study.header["devices"]
    seen = seen_in(study, trial)
    for index, device in enumerate(devices):
        name, free = device["name"], trial["free_before_bytes"][index]
        yield _row(name, "formula", said_by(trial["formula"], index), free)
        yield _row(name, "dry run", said_by(trial["dry_run"], index), free)
        yield _row(name, "observed buffers", seen.pop(name), free)
        peak = None if trial["peak_bytes"] is None else trial["peak_bytes"][index]
        yield [
            plain(name),
            "observed peak",
            *[DASH] * 3,
            mib_text(peak),
            mib_text(None if peak is None else free - peak),
        ]
    host = seen.pop(HOST)
    for name, held in seen.items():
        yield _row(name, "observed buffers", held, None)
    yield _row(HOST, "formula", said_by(trial["formula"], None), None)
    yield _row(HOST, "dry run", said_by(trial["dry_run"], None), None)
    yield _row(HOST, "observed buffers", host, None)


def _row(name: str, source: str, held: Held, free_bytes: int | None) -> list[str]:
    total = held.total_bytes
    left = None if total is None or free_bytes is None else free_bytes - total
    return [
        plain(name),
        source,
        *map(mib_text, held.parts),
        mib_text(total),
        mib_text(left),
    ]


def _without_model(args: Sequence[str]) -> list[str]:
    if "-m" not in args:
        return list(args)
    at = args.index("-m")
    return [*args[:at], *args[at + 2 :]]
