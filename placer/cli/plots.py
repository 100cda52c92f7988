"""A plan as a chart: what each placement writes and reads per second."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from placer.cli.plans import number_text, rows_of
from placer.errors import InputError
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.app import Plan, Rated
    from placer.speed import Interval

SUFFIXES = (".svg", ".png")
# By what a row is of; readable without colours, in the order of the rows.
COLOURS = {
    "plan": "#1b6ca8",
    "baseline": "#8a8a8a",
    "context": "#3a8f5c",
    "ubatch": "#b5651d",
    "cache type": "#7d4fa3",
    "cache place": "#9c6b98",
    "op-offload": "#a83a3a",
    "device order": "#4f7f8f",
}
ROW_INCHES, HEAD_INCHES, WIDTH_INCHES = 0.32, 1.4, 10.0
Row = tuple[str, str, "Rated"]


def require_plot(path: Path) -> None:
    """Check that a chart can be drawn there, before anything is planned.

    Raises:
        InputError: another kind of file, no such folder, or no library to draw with.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path.name} is no chart", hint=f"name a file {' or '.join(SUFFIXES)}"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(
            "has no such folder", path=path, hint="make the folder, or name another"
        )
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError(
            "--plot needs matplotlib, which is not installed",
            hint="pip install 'placer[plot]'",
        )


def draw(found: Plan, path: Path) -> None:
    """Write the chart, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    figure = _figure(found)
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(temporary, format=kind, dpi=144, metadata=metadata)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", path=path, hint="name another file"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _rows(found: Plan) -> list[Row]:
    """Kind, name and placement of each row, from top to bottom."""
    rows: list[Row] = []
    for name, rated in rows_of(found):
        is_plan = name.isdigit()
        label = f"{name}. {rated.candidate.strategy.title}" if is_plan else name
        rows.append(("plan" if is_plan else "baseline", label, rated))
    rows.extend(
        (one.kind, shlex.join(one.args), one.rated)
        for one in found.tradeoffs
        if one.rated is not None
    )
    return rows


def _figure(found: Plan) -> Any:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text, and two charts of one plan are the same bytes.
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "placer"
    rows = _rows(found)
    height = HEAD_INCHES + ROW_INCHES * len(rows)
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    decode = [rated.candidate.speed.decode for _, _, rated in rows]
    prefill = [rated.candidate.speed.prefill for _, _, rated in rows]
    _bars(
        left, rows, decode, f"tokens written per second, {found.depth:,} in the cache"
    )
    _bars(right, rows, prefill, "tokens of a prompt read per second")
    left.set_yticks(range(len(rows)), [label for _, label, _ in rows])
    left.invert_yaxis()
    figure.suptitle(_title(found), fontsize=11)
    return figure


def _title(found: Plan) -> str:
    work = found.target.workload
    devices = ", ".join(
        f"{d.description if found.machine.name else d.name} {size_text(d.free_bytes)}"
        for d in found.machine.devices
    )
    return f"{found.target.name}, context {work.ctx:,}\n{devices} free (predicted)"


def _bars(
    axes: Any, rows: Sequence[Row], figures: Sequence[Interval], label: str
) -> None:
    """Bars with their intervals, and the figure behind each."""
    at = range(len(rows))
    middle = [figure.mid for figure in figures]
    errors = [
        [figure.mid - figure.low for figure in figures],
        [figure.high - figure.mid for figure in figures],
    ]
    axes.barh(at, middle, color=[COLOURS[kind] for kind, _, _ in rows])
    axes.errorbar(
        middle, at, xerr=errors, fmt="none", ecolor="#333333", capsize=2, linewidth=0.8
    )
    most = max(figure.high for figure in figures)
    for y, figure in zip(at, figures, strict=True):
        text = number_text(figure.mid)
        axes.text(figure.high + most * 0.01, y, text, va="center", fontsize=8)
    axes.set_xlim(0, most * 1.15)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
