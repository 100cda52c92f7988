"""The answer measured beside ``--fit`` and beside one GPU, where that was done."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from placer.report.figures import DASH, count_text, rate_text
from placer.report.table import figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.search.records import StudyRecord

MEASURED = (
    *text_columns("placement", "split"),
    *figure_columns("tensors elsewhere", "in the cache", "read t/s", "written t/s"),
)
ABOUT = """\
Each was launched once in every round, in random order, and measured at several depths
of its cache; rates are means with 95 % intervals. *placer* is the answer. Tensors
elsewhere are those that do not follow their layer."""
UNFINISHED = "The answer was being measured beside others when placer ended."
SURE = 0.9999


def newest_contest(
    study: StudyRecord,
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
    """What was to be measured beside what, and how it ended, if it did.

    None where nothing was.
    """
    newest_first = tuple(reversed(study.others))
    since = list(takewhile(lambda r: r["kind"] != "contest", newest_first))
    if len(since) == len(newest_first):
        return None
    ended = next((r for r in since if r["kind"] == "contested"), None)
    return newest_first[len(since)], ended


def contest_blocks(study: StudyRecord) -> Iterator[str]:
    """Who was faster in the newest contest; nothing where there was none."""
    contest = newest_contest(study)
    if contest is None:
        return
    asked, ended = contest
    if ended is None:
        yield UNFINISHED
        return
    if ended["figures"]:
        yield ABOUT
        yield _rates_table(asked, ended)
    yield "\n".join(f"- {line}" for line in _sentences(asked, ended))


def _rates_table(asked: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    contenders = {one["name"]: one for one in asked["contenders"]}
    rows = [
        [
            plain(figure["contender"]),
            *_placement_cells(contenders[figure["contender"]]),
            count_text(figure["depth"]),
            _rate_text(figure["prefill_tokens_per_s"]),
            _rate_text(figure["decode_tokens_per_s"]),
        ]
        for figure in sorted(ended["figures"], key=lambda figure: figure["depth"])
    ]
    return table(MEASURED, rows)


def _placement_cells(contender: Mapping[str, Any]) -> list[str]:
    split = contender["split"]
    slots = DASH if split is None else " + ".join(map(str, split))
    return [slots, count_text(contender["exceptions"])]


def _rate_text(rate: Mapping[str, Any]) -> str:
    """``"22.5 ± 0.4"``; without the rest where one launch says no more."""
    mean, half = rate["mean"], rate["half_width"]
    return rate_text(mean) + ("" if half is None else f" ± {rate_text(half)}")


def _sentences(asked: Mapping[str, Any], ended: Mapping[str, Any]) -> Iterator[str]:
    for one in ended["comparisons"]:
        yield _comparison_sentence(one)
    for name, failed in ended["failed"].items():
        where = "" if failed["device"] is None else f" on {plain(failed['device'])}"
        yield f"{plain(name)} did not run: {plain(failed['verdict'])}{where}."
    for one in asked["contenders"]:
        if one["absent"] is not None:
            yield f"{plain(one['name'])} was not launched: {plain(one['absent'])}."
    rounds = ended["rounds"]
    yield (
        f"{'One round was' if rounds == 1 else f'{rounds} rounds were'} complete; what "
        f"counted was {plain(asked['goal'])}."
    )


def _comparison_sentence(one: Mapping[str, Any]) -> str:
    low, _, high = (share * 100 for share in one["faster_by"])
    rival = plain(one["rival"])
    if one["outcome"] in ("faster", "slower"):
        least, most = sorted((abs(low), abs(high)))
        return (
            f"The answer was {least:,.1f} to {most:,.1f} % {one['outcome']} than "
            f"{rival}, with a confidence of {_sure_text(one['confidence'])}."
        )
    known = "No difference was seen" if one["outcome"] == "alike" else "It is not clear"
    return (
        f"{known} beside {rival}: the answer was between {abs(low):,.1f} % slower and "
        f"{high:,.1f} % faster."
    )


def _sure_text(confidence: float) -> str:
    return "over 99.99 %" if confidence > SURE else f"{confidence * 100:.2f} %"
