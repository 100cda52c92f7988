from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.report.figures import (
    count_text,
    graph_splits_text,
    kept_text,
    mib_text,
    name_text,
    rate_text,
    split_text,
    started_text,
    strategy_text,
    times_text,
)
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (None, "-"),
        (0, "0"),
        (24 * MIB, "24"),
        (24 * 1024 * MIB, "24,576"),
        (MIB // 2, "0.5"),
        (-3 * MIB - MIB // 4, "-3.2"),
        (3 << 10, "0.003"),
    ],
)
def test_sizes_are_in_mib(n_bytes: int | None, text: str) -> None:
    """Whole where they are whole, else to a tenth; a dash where not known."""
    assert mib_text(n_bytes) == text


@given(st.integers(min_value=-(1 << 45), max_value=1 << 45))
def test_only_nothing_is_printed_as_nothing(n_bytes: int) -> None:
    """A size reads as 0 if and only if it is 0, and is off by half a tenth at most."""
    read = float(mib_text(n_bytes).replace(",", ""))
    assert (read == 0) == (n_bytes == 0)
    assert abs(read - n_bytes / MIB) <= 0.0501


def test_what_is_not_known_is_a_dash() -> None:
    """None is never printed as a figure, and 0 never as a dash."""
    assert [rate_text(None), count_text(None)] == ["-", "-"]
    assert [name_text(None), graph_splits_text(None)] == ["-", "-"]
    assert [rate_text(0.0), count_text(0)] == ["0.0", "0"]


def test_figures_have_separators() -> None:
    """Thousands are set apart."""
    assert [rate_text(12345.67), count_text(131072)] == ["12,345.7", "131,072"]


def test_equal_graph_splits_are_said_once() -> None:
    """Prefill and decode, or one number for both."""
    assert graph_splits_text([9, 33]) == "9 / 33"
    assert graph_splits_text([3, 3]) == "3"


def test_a_split_says_how_many_experts_stay(
    trial: Callable[..., dict[str, Any]],
) -> None:
    """Slots of each device, and expert tensors where some are on the CPU."""
    assert split_text(trial()) == "20 + 11"
    assert split_text(trial(kept=[0, 3])) == "20 + 11, 0 + 3 expert tensors"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (r"blk\.(1|2)\..*exps=CPU,no-pipeline=CPU", "36 + 24 expert tensors"),
        (r"blk\.1\..*exps=CPU,blk\.7\.ffn_up_exps=CUDA1", "60 expert tensors"),
    ],
)
def test_experts_on_the_gpu_of_another_layer_are_counted_together(
    overrides: str, text: str, trial: Callable[..., dict[str, Any]]
) -> None:
    """The journal counts them where their layer is, which is not where they are."""
    args = ["-ngl", "31", "-ts", "20,11", "-ot", overrides]
    assert kept_text(trial(kept=[36, 24], args=args)) == text


def test_times_are_words() -> None:
    """Once is no "1 times"."""
    assert [times_text(1), times_text(3)] == ["once", "3 times"]


def test_strategies_have_titles() -> None:
    """The letter becomes words; an unknown one stays."""
    assert strategy_text({"strategy": "D"}) == "experts on the CPU"
    assert strategy_text({"strategy": "E"}) == "E"


def test_a_start_reads_as_a_time() -> None:
    """To the second, in UTC."""
    header = {"started": "2026-11-23T14:02:11+00:00"}
    assert started_text(header) == "2026-11-23 14:02:11 UTC"
