"""``docs/benchmarks/engines.md``: what another engine changed, profile by profile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from placer.report.figures import DASH, mib_text, started_text
from placer.report.model_page import GENERATED
from placer.report.paths import without_folders
from placer.report.table import code, figure_columns, plain, table, text_columns
from placer.search.journal import FILE_NAME, read_records
from placer.units import size_text
from placer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PAGE = "benchmarks/engines.md"
FOLDER, KIND = "smoke", "smoke"
HINT = "free some space or make the folder writable"
DAMAGED = "move the damaged file away; placer verify --suite smoke makes another"
NAMES = {
    "memory_bytes": "MiB",
    "decode_tokens_per_s": "decode tokens/s",
    "prompt_tokens_per_s": "prompt tokens/s",
    "divergence_nats": "expects otherwise, nats",
    "agreement": "likeliest token the same",
    "same_answers": "answers the same",
    "passed": "problems passed",
}
RATES = frozenset({"decode_tokens_per_s", "prompt_tokens_per_s"})
STATUSES = text_columns("profile", "old", "new", "how", "verdict")
NONE_YET = "No smoke test has been held to another yet."
INTRO = """\
`placer verify --suite smoke` launches profiles after an update of the engine and holds
them to the last smoke test that was good; with two `--server` it launches both in turn.
docs/verify.md says what counts as a difference. Of each pair of builds the newest test
is shown."""

Test = tuple["Path", "Mapping[str, Any]", "Mapping[str, Any]"]


def written_engines(logs: Path, docs: Path) -> Path | None:
    """Write the page; None where no smoke test is on record.

    Raises:
        JournalError: a record is damaged.
        InputError: the page cannot be written.
    """
    tests = list(_tests(logs))
    if not tests:
        return None
    path = docs / PAGE
    write_whole(path, engine_page(tests, path.parent), parents=True, hint=HINT)
    return path


def engine_page(tests: Sequence[Test], folder: Path) -> str:
    """The page.

    Args:
        tests: folder, header and end of each, oldest first.
        folder: where the page lies: links are from there.
    """
    blocks = ["# What another engine changed", GENERATED, INTRO]
    newest = _newest(tests)
    if not newest:
        return "\n\n".join([*blocks, NONE_YET]) + "\n"
    blocks.append(table(STATUSES, [_status_row(*test) for test in newest]))
    for test in newest:
        blocks += _blocks(test, folder)
    return "\n\n".join(blocks) + "\n"


def _tests(logs: Path) -> Iterator[Test]:
    """Those that came to their end, oldest first."""
    for path in sorted(logs.glob(f"*/{FOLDER}/*/{FILE_NAME}")):
        records = read_records(path, what="record of a smoke test", hint=DAMAGED)
        is_whole = len(records) > 1 and records[-1]["kind"] == "end"
        if is_whole and records[-1]["stopped"] is None:
            yield path.parent, records[0], records[-1]


def _newest(tests: Sequence[Test]) -> list[Test]:
    """Of each profile and pair of builds, those that were held to something."""
    found: dict[tuple[Any, ...], Test] = {}
    for test in tests:
        _, header, end = test
        if end["old"] is not None:
            key = (header["profile"], end["is_pair"], *map(_build, _builds(end)))
            found.pop(key, None)
            found[key] = test
    return sorted(found.values(), key=lambda test: str(test[1]["profile"]))


def _builds(end: Mapping[str, Any]) -> tuple[Any, Any]:
    return end["old"], end["new"]


def _build(build: Mapping[str, Any]) -> str:
    file = build["file"]
    return f"{file} {build['name']}" if file else str(build["name"])


def _status_row(
    folder: Path, header: Mapping[str, Any], end: Mapping[str, Any]
) -> list[str]:
    del folder
    return [
        plain(header["profile"]),
        *(plain(_build(one)) for one in _builds(end)),
        "in turn" if end["is_pair"] else "now and then",
        status_text(end["status"]),
    ]


def _blocks(test: Test, folder: Path) -> Iterator[str]:
    path, header, end = test
    old, new = map(_build, _builds(end))
    titles = ("A", "B") if end["is_pair"] else ("recorded", "now")
    yield f"## {plain(header['profile'])}: {plain(old)} → {plain(new)}"
    yield f"**{status_text(end['status'])}**{_reason(end)}, {started_text(header)}."
    columns = (*text_columns(""), *figure_columns(*titles), *text_columns("verdict"))
    rows = [
        [
            plain(figure_name(one)),
            *(figure_text(one["name"], one[side]) for side in ("recorded", "now")),
            plain(change_text(one)),
        ]
        for one in end["figures"]
    ]
    if rows:
        yield table(columns, rows)
    if end["notes"]:
        yield "\n".join(f"- {plain(without_folders(note))}" for note in end["notes"])
    yield _links(path, end, folder)


def _reason(end: Mapping[str, Any]) -> str:
    reason = end["reason"]
    return f": {plain(without_folders(reason))}" if reason else ""


def _links(path: Path, end: Mapping[str, Any], folder: Path) -> str:
    """To both records; of two engines in turn there is one."""
    found = [_link("record", path, folder)]
    if end["recorded"] is not None:
        # Beside it, wherever the records have been moved since.
        name = end["recorded"].rstrip("/").rpartition("/")[2]
        found.append(_link("held to", path.parent / name, folder))
    return ", ".join(found)


def _link(word: str, path: Path, folder: Path) -> str:
    file = os.path.relpath(path / FILE_NAME, folder).replace(os.sep, "/")
    return f"{word}: [{code(path.name)}]({file.replace(' ', '%20')})"


def status_text(status: str) -> str:
    """``"does not fit"``, ``"no difference seen"``."""
    if status == "same":
        return "no difference seen"
    return status.replace("-", " ")


def figure_name(figure: Mapping[str, Any]) -> str:
    """``"CUDA0 MiB (peak)"``."""
    name = NAMES[figure["name"]]
    if figure["device"] is None:
        return name
    return f"{figure['device']} {name} ({figure['source']})"


def figure_text(name: str, value: float | None) -> str:
    """A figure as tables have it."""
    if value is None:
        return DASH
    if name == "memory_bytes":
        return mib_text(round(value))
    if name == "divergence_nats":
        return f"{value:.2g}"
    if name == "agreement":
        return f"{value:.0%}".replace("%", " %")
    return f"{value:,.1f}" if name in RATES else f"{value:,.0f}"


def change_text(figure: Mapping[str, Any]) -> str:
    """``"worse, -12 % (-15 to -9 %)"``, ``"no difference seen"``."""
    kind = figure["kind"]
    words = "no difference seen" if kind == "same" else kind
    if kind is None:
        words = "" if figure["recorded"] is None else "not judged"
    if figure.get("change") is not None:
        return ", ".join(filter(None, (words, _interval(figure))))
    if kind in (None, "same"):
        return words
    return f"{words}{_difference(figure)}"


def _interval(figure: Mapping[str, Any]) -> str:
    change = 100 * figure["change"]
    if figure["low"] is None:
        return f"{change:+.1f} % in one round"
    low, high = 100 * figure["low"], 100 * figure["high"]
    return f"{change:+.1f} % ({low:+.1f} to {high:+.1f})"


def _difference(figure: Mapping[str, Any]) -> str:
    was, now = figure["recorded"], figure["now"]
    if figure["name"] == "memory_bytes":
        sign = "+" if now > was else "-"
        return f", {sign}{size_text(round(abs(now - was)))}"
    if figure["name"] in RATES and was:
        return f", {now / was - 1:+.0%}".replace("%", " %")
    return ""
