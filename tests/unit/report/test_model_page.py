from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report import model_page
from placer.report.model_page import NO_BOUNDARY, outcome_sentence
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.search.records import StudyRecord


def headings(page: str) -> list[str]:
    """The headings of a page."""
    return [line for line in page.splitlines() if line.startswith("#")]


def test_the_newest_proved_study_is_shown_in_full(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The others follow, the newest first, in whatever order they are given."""
    old = study(fit(), folder="20261101-000000", best=1, started="2026-11-01")
    best = study(fit(), folder="20261102-000000", best=1, started="2026-11-02")
    newer = study(folder="20261103-000000", started="2026-11-03", ended=False)
    page = model_page("m", [old, newer, best])
    assert page == model_page("m", [best, newer, old])
    assert headings(page) == [
        "# m",
        "## Answer",
        "## Conditions",
        "## Memory",
        "## Speed",
        "## Why not more",
        "## Every split that was tried",
        "## Other searches",
        "### 20261103-000000",
        "### 20261101-000000",
    ]
    assert "A newer search, `20261103-000000`, has no answer" in page
    assert "search: `20261102-000000`" in page.split("## Memory")[0]


def test_studies_of_one_second_are_told_apart(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The tenth of them is newer than the second."""
    names = ("20261101-000000-2", "20261101-000000-10", "20261101-000000")
    page = model_page("m", [study(fit(), folder=name, best=1) for name in names])
    others = headings(page)[-2:]
    assert others == ["### 20261101-000000-2", "### 20261101-000000"]


def test_one_study_has_no_others(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """Nor is there a newer one to speak of; nothing that failed, nothing beyond."""
    page = model_page("m", [study(fit(), best=1)])
    assert "Other searches" not in page
    assert "newer" not in page
    assert NO_BOUNDARY in page
    assert page.endswith("|\n")


def test_a_study_without_an_answer_has_no_proof(
    study: Callable[..., StudyRecord],
) -> None:
    """It says why, and what it was about."""
    page = model_page("m", [study(stopped="nothing fits; lower --ctx")])
    assert headings(page)[1] == "## No answer"
    assert "Ended without an answer: nothing fits; lower --ctx." in page
    assert "No launch was answered." in page
    assert "## Memory" not in page


def test_an_early_stop_is_said_beside_the_answer(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The answer is then only the best so far."""
    stopped = "CRASHED: '/home/jo/x.cu' died"
    page = model_page("m", [study(fit(), best=1, stopped=stopped)])
    assert (
        "Found layers over the GPUs, 20 + 11 (trial 1), and stopped early: CRASHED: "
        "'x.cu' died. What is better was not all tried."
    ) in page


def test_every_end_has_its_sentence(
    study: Callable[..., StudyRecord],
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """Found, and killed with and without anything that fitted."""
    assert outcome_sentence(study(fit(), best=1)) == (
        "Found layers over the GPUs, 20 + 11 (trial 1)."
    )
    killed = "No end is recorded: placer was killed, or is searching. "
    assert outcome_sentence(study(trial(), ended=False)) == (
        f"{killed}Nothing had been seen to fit."
    )
    fitted = study(fit(number=1), fit(number=2, slots=[21, 10]), ended=False)
    assert outcome_sentence(fitted) == (
        f"{killed}Seen to fit by then: layers over the GPUs, 21 + 10 (trial 2)."
    )


def test_other_failures_say_what_the_engine_said(
    study: Callable[..., StudyRecord], trial: Callable[..., dict[str, Any]]
) -> None:
    """They are listed with their evidence, its folders cut off."""
    crash = trial(
        number=1,
        args=["-m", "/models/a b/m.gguf", "-ngl", "30", "-ts", "20,10"],
        verdict="CRASHED",
        phase=None,
        evidence=["exit code 1", "cannot open /models/a b/m.gguf"],
    )
    stall = trial(
        number=2, verdict="STALLED", phase=None, evidence=[], cause="time-out"
    )
    other = trial(number=3, args=[])
    page = model_page("m", [study(crash, stall, other)])
    assert "- Trial 1, CRASHED: `exit code 1`, `cannot open m.gguf`\n" in page
    assert "- Trial 2, STALLED (time-out): nothing was said\n" in page
    assert "- Trial 3" not in page


def test_what_was_spoiled_and_tried_again_says_so(
    study: Callable[..., StudyRecord],
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """With the next number of the same flags; the last attempt has none."""
    taken = ["another process took 9 MiB of CUDA0 meanwhile"]
    args = ["-ngl", "31", "-ts", "19,12"]
    spoiled = [
        trial(number=n, verdict="SPOILED", phase=None, evidence=taken, args=args)
        for n in (1, 3)
    ]
    page = model_page("m", [study(spoiled[0], fit(number=2), spoiled[1])])
    said = f"SPOILED: `{taken[0]}`"
    assert f"- Trial 1, {said}; tried again as trial 3\n" in page
    assert f"- Trial 3, {said}\n" in page


def test_a_search_that_went_on_says_so(study: Callable[..., StudyRecord]) -> None:
    """And what was passed over because the machine went down, once."""
    passed = {
        "kind": "passed-over",
        "args": ["-m", "/models/a b/m.gguf", "-ngl", "9", "-ts", "5,4"],
        "why": "the machine went down while it was tried",
    }
    page = model_page("m", [study(others=[{"kind": "resumed"}, passed])])
    assert "The search was broken off and went on once.\n" in page
    sentence = (
        "Not tried again, because the machine went down while it was tried: "
        "`-ngl 9 -ts 5,4`.\n"
    )
    assert page.count(sentence) == 1
    twice = [{"kind": "resumed"}, passed] * 2
    page = model_page("m", [study(others=twice)])
    assert "went on 2 times." in page
    assert page.count(sentence) == 1


def test_limits_stand_above_what_ran_out(
    study: Callable[..., StudyRecord],
    trial: Callable[..., dict[str, Any]],
    fit: Callable[..., dict[str, Any]],
) -> None:
    """What would help, then the launches that showed what does not fit."""
    limit = {
        "device": "CUDA0",
        "needs_bytes": 130 * MIB,
        "left_bytes": MIB,
        "step_bytes": 2 * MIB,
        "refused_bytes": None,
    }
    page = model_page("m", [study(fit(number=1), trial(number=2), best=1)])
    assert "next step" not in page
    searched = study(fit(number=1), trial(number=2), best=1, limits=[limit])
    page = model_page("m", [searched]).split("## Why not more")[1]
    left = page.index("- CUDA0 had 1 MiB left; the next step that would help needs 2 M")
    assert page.index("| CUDA0  |        130 |") < left < page.index("(trial 2).")


def test_goal_margins_and_driver_are_conditions(
    study: Callable[..., StudyRecord],
) -> None:
    """With what is left free on purpose, and that more was launched to be refused."""
    page = model_page("m", [study()])
    assert "- goal: to write tokens fast\n" in page
    assert "driver" not in page
    devices = [device | {"driver": "565.77"} for device in study().header["devices"]]
    page = model_page(
        "m",
        [
            study(
                goal="prefill",
                margins_bytes=[0, 256 * MIB],
                by_launch=True,
                devices=devices,
            )
        ],
    )
    assert "- goal: to read prompts fast, 256 MiB of CUDA1 left free\n" in page
    assert "decoded, and one step more is launched on every device\n" in page
    assert "- driver: 565.77\n" in page


def test_launches_without_an_answer_are_named(
    study: Callable[..., StudyRecord],
) -> None:
    """They count as launches, of which nothing else is known."""
    page = model_page("m", [study(unanswered=[2], ended=False)])
    assert "Launch 2 was under way when placer ended; what became of it is" in page
    assert "1 launch\n" in page
    page = model_page("m", [study(unanswered=[2, 3], ended=False)])
    assert "Launches 2, 3 were under way when placer ended; what became of" in page
    assert "2 launches\n" in page


def test_strategies_that_were_skipped_say_who_says_so(
    study: Callable[..., StudyRecord],
) -> None:
    """By formula, with the shortfall."""
    record = {
        "strategy": "A",
        "device": "CUDA0",
        "short_bytes": 1536 * MIB,
        "source": "formula",
    }
    page = model_page("m", [study(skipped=[record])])
    assert "| one GPU  | CUDA0  |     1,536 | formula |" in page


def test_an_unusual_workload_is_spelt_out(study: Callable[..., StudyRecord]) -> None:
    """Slots, caches and switches that are not the default are all named."""
    plain = study()
    assert "512 tokens of context, one slot, batch 2,048" in model_page("m", [plain])
    workload = plain.header["workload"] | {
        "parallel": 4,
        "kv_unified": True,
        "swa_full": True,
        "kv_offload": False,
        "op_offload": False,
    }
    args = ["--lora", "/home/jo/l.gguf"]
    page = model_page("m", [study(workload=workload, extra_args=args, proof="load")])
    assert "4 slots that share one cache" in page
    assert "windows cached in full, cache on the host, no op offload\n" in page
    assert "- further flags: `--lora l.gguf`\n" in page
    assert "- proof: load, a launch counts as soon as its model is loaded\n" in page


def test_a_split_model_says_its_files(study: Callable[..., StudyRecord]) -> None:
    """Files, size and layers of the model."""
    model = study().header["model"] | {"shards": 3, "size_bytes": 57000 * MIB}
    page = model_page("m", [study(model=model)])
    assert "- model: `m.gguf`, llama, 30 layers, 57,000 MiB in 3 files, " in page


def test_an_engine_in_containers_is_said_to_be(
    study: Callable[..., StudyRecord], fit: Callable[..., dict[str, Any]]
) -> None:
    """The build alone does not say how to get it again."""
    local, contained = (study(fit(), best=1, image=i) for i in (None, "llama:b1"))
    assert "in containers" not in model_page("m", [local])
    assert "in containers of `llama:b1`" in model_page("m", [contained])
