from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.answer import (
    answer_sentence,
    flags_block,
    memory_table,
    speed_table,
)
from placer.report.tried import tried_table
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord


def cells(table: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    rows = table.splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_flags_can_be_pasted(trial: Callable[..., dict[str, Any]]) -> None:
    """They leave out the model, quote what a shell would read, and name no folder."""
    flags = ["--lora", "/a/b.gguf", "-ngl", "31", "-ot", r"blk\.(1|2)\.x=CPU"]
    asked = trial(args=["-m", "/models/m.gguf", "-c", "512", *flags])
    assert flags_block(asked) == (
        "```sh\n"
        "-c 512 --lora b.gguf \\\n"
        "-ngl 31 \\\n"
        r"-ot 'blk\.(1|2)\.x=CPU'" + "\n"
        "```"
    )


def test_flags_without_a_model_are_all_shown(
    trial: Callable[..., dict[str, Any]],
) -> None:
    """Nothing else is left out, and placement flags may stand first."""
    block = flags_block(trial(args=["-ngl", "3", "-c", "5"]))
    assert block == "```sh\n-ngl 3 -c 5\n```"


def test_the_sentence_says_how_far_it_went(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """A launch that only loaded is not said to have been filled."""
    filled, loaded = fit(), fit(stage="filling the context", prompt_tokens=0)
    assert answer_sentence(study(), filled) == (
        "**Layers over the GPUs** (strategy C), 20 + 11 slots on CUDA0 + CUDA1. Trial "
        "1 was seen to load, to fill 1,490 tokens of context and to decode."
    )
    said = answer_sentence(study(), loaded)
    assert said.endswith("seen to load; its context was not filled.")


def test_the_sentence_counts_expert_tensors(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Where some experts are on the CPU."""
    said = answer_sentence(study(), fit(strategy="D", kept=[36, 24]))
    assert "20 + 11 slots on CUDA0 + CUDA1, with 36 + 24 expert tensors on" in said


def test_each_source_has_its_own_row(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Never one figure; left is what was free before this launch, less the total."""
    buffers = [
        {"device": "CUDA0", "phase": phase, "bytes": mib * MIB}
        for phase, mib in (("weights", 101), ("context", 11), ("compute", 21))
    ]
    best = fit(
        buffers=buffers,
        free_before_bytes=[190 * MIB, 200 * MIB],
        peak_bytes=[150 * MIB, 210 * MIB],
    )
    assert cells(memory_table(study(best), best)) == [
        ["CUDA0", "formula", "100", "10", "20", "130", "60"],
        ["CUDA0", "dry run", "100", "10", "20", "130", "60"],
        ["CUDA0", "observed buffers", "101", "11", "21", "133", "57"],
        ["CUDA0", "observed peak", "-", "-", "-", "150", "40"],
        ["CUDA1", "formula", "50", "-", "5", "-", "-"],
        ["CUDA1", "dry run", "50", "-", "5", "-", "-"],
        ["CUDA1", "observed buffers", "0", "0", "0", "0", "200"],
        ["CUDA1", "observed peak", "-", "-", "-", "210", "-10"],
        ["Host", "formula", "7", "0", "-", "-", "-"],
        ["Host", "dry run", "7", "0", "-", "-", "-"],
        ["Host", "observed buffers", "0", "0", "0", "0", "-"],
    ]


def test_a_source_that_did_not_speak_is_dashes(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """No dry run, no log lines and no peak leave no figure, not even 0."""
    best = fit(dry_run=None, buffers=[])
    rows = cells(memory_table(study(best), best))
    silent = [row[2:] for row in rows if row[1] != "formula"]
    assert len(silent) == 8
    assert all(row == ["-"] * 5 for row in silent)
    assert cells(speed_table(best))[0] == ["dry run", *["-"] * 6]


def test_memory_that_no_device_owns_is_shown_under_its_name(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """It is neither lost nor added to the host's."""
    buffers = [{"device": "RPC0[h:1]", "phase": "weights", "bytes": MIB}]
    rows = cells(memory_table(study(), fit(buffers=buffers)))
    assert ["RPC0[h:1]", "observed buffers", "1", "-", "-", "-", "-"] in rows


def test_splits_of_dry_run_and_launch_are_apart(
    fit: Callable[..., dict[str, Any]],
) -> None:
    """Speed is predicted or measured, and the two are never one figure."""
    ubatch, decode = "1,000.0 (500.0 to 1,600.0)", "48.0 (40.0 to 60.0)"
    assert cells(speed_table(fit(graph_splits=[9, 33]))) == [
        ["dry run", "3", "-", "-", "-", "-", "-"],
        ["predicted", "-", "-", ubatch, decode, "-", "-"],
        ["observed", "9 / 33", "2,000.0", "900.0", "50.0", "1.0", "1.5"],
    ]


def test_what_was_neither_predicted_nor_measured_is_a_dash(
    fit: Callable[..., dict[str, Any]], study: Callable[..., StudyRecord]
) -> None:
    """Of drafted tokens the speed model says nothing."""
    drafted = fit(predicted=None, prefill_tokens_per_s=None)
    predicted, observed = cells(speed_table(drafted))[1:]
    assert predicted == ["predicted", *["-"] * 6]
    assert observed == ["observed", "3", "2,000.0", "-", "50.0", "1.0", "1.5"]
    assert cells(tried_table(study(drafted)))[0][-3:] == ["-", "50.0", "1.5"]


def test_every_try_shows_what_was_predicted_beside_what_was_measured(
    fit: Callable[..., dict[str, Any]],
    trial: Callable[..., dict[str, Any]],
    study: Callable[..., StudyRecord],
) -> None:
    """The middle alone; a launch without a prediction has a dash."""
    rows = cells(tried_table(study(fit(), trial())))
    assert [row[-3:] for row in rows] == [["48.0", "50.0", "1.5"], ["-", "-", "1.5"]]
