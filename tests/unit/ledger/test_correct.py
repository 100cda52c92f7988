from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placer.ledger import Entry, Key, correction, overhead
from placer.ledger.summary import summary
from placer.memory import MemoryBreakdown
from placer.units import MIB

FORMULA_BYTES = 1000 * MIB


def key(**changes: Any) -> Key:
    """A key of real CUDA devices."""
    fields: dict[str, Any] = {
        "build": "11434 (abc)",
        "backend": "CUDA",
        "emulated": False,
        "architecture": "llama",
    }
    return Key(**(fields | changes))


def entry(residual_bytes: int, launch: int, **changes: Any) -> Entry:
    """A launch in which the dry run said so much more than the formula."""
    fields: dict[str, Any] = {
        "when": "2026-11-27T12:00:00+00:00",
        "version": "1",
        "key": key(),
        "model": "m.gguf",
        "launch": f"{launch:016x}",
        "device": "CUDA0",
        "place": "only",
        "formula": MemoryBreakdown(
            model_bytes=0, context_bytes=0, compute_bytes=FORMULA_BYTES
        ),
        "dry_run": MemoryBreakdown(
            model_bytes=0, context_bytes=0, compute_bytes=FORMULA_BYTES + residual_bytes
        ),
    }
    return Entry(**(fields | changes))


def rows(residuals: list[int], **changes: Any) -> list[Entry]:
    """One launch a residual."""
    return [entry(r, number, **changes) for number, r in enumerate(residuals)]


def added(entries: list[Entry], asked: Key | None = None) -> int:
    """What is added to the next estimate."""
    found = correction(entries, asked or key(), "only", "1")
    return 0 if found is None else found.n_bytes


@given(st.lists(st.integers(-900 * MIB, 900 * MIB), max_size=12))
def test_a_correction_worsens_none_of_its_own_entries(residuals: list[int]) -> None:
    """Whatever was seen, no entry is further from its dry run afterwards."""
    n_bytes = added(rows(residuals))
    assert all(abs(r - n_bytes) <= abs(r) for r in residuals)


@given(st.lists(st.integers(-900 * MIB, 900 * MIB), max_size=12))
def test_a_correction_hides_no_shortfall(residuals: list[int]) -> None:
    """Corrected downwards, no entry comes out under its dry run."""
    n_bytes = added(rows(residuals))
    assert n_bytes >= 0 or all(r - n_bytes <= 0 for r in residuals)


def test_three_shortfalls_raise_the_estimate_and_two_do_not() -> None:
    """Upwards three launches are enough, by the largest shortfall."""
    assert added(rows([20 * MIB, 25 * MIB, 30 * MIB])) == 30 * MIB
    assert added(rows([20 * MIB, 25 * MIB])) == 0


def test_eight_excesses_lower_the_estimate_and_seven_do_not() -> None:
    """Downwards it takes eight launches, and the least excess counts."""
    assert added(rows([-40 * MIB] * 7 + [-10 * MIB])) == -10 * MIB
    assert added(rows([-40 * MIB] * 7)) == 0


def test_the_same_launch_again_is_one_launch() -> None:
    """Only distinct launches count, and the newest word on each."""
    again = [entry(20 * MIB, 1), entry(25 * MIB, 1), entry(30 * MIB, 1)]
    assert added(again) == 0
    assert added([*again, *rows([2 * MIB, 3 * MIB])[:1], entry(31 * MIB, 7)]) == 4 * MIB


def test_the_same_build_comes_before_a_newer_one() -> None:
    """Residuals of the engine that is asked for count before any other's."""
    same = rows([20 * MIB] * 3)
    other = rows([50 * MIB] * 3, key=key(build="11500 (def)"))
    assert added(same + other) == 20 * MIB
    assert added(same + other, key(build="")) == 50 * MIB


def test_real_devices_come_before_emulated_ones() -> None:
    """Emulated devices teach real ones only where no real one did."""
    emulated = rows([50 * MIB] * 3, key=key(emulated=True))
    assert added(emulated) == 50 * MIB
    assert added(rows([20 * MIB]) + emulated) == 0


def test_emulated_devices_lower_nothing_of_real_ones() -> None:
    """However often the formula was over there, real devices are not told."""
    emulated = rows([-40 * MIB] * 8, key=key(emulated=True))
    assert added(emulated, key(emulated=True)) == -40 * MIB
    assert added(emulated) == 0


def test_other_keys_and_formulas_teach_nothing() -> None:
    """Another backend, architecture, place or placer says nothing."""
    seen = [20 * MIB] * 3
    assert added(rows(seen, key=key(backend="Vulkan"))) == 0
    assert added(rows(seen, key=key(architecture="qwen3"))) == 0
    assert added(rows(seen, place="last")) == 0
    assert added(rows(seen, version="0")) == 0


def test_overhead_is_the_most_that_was_seen_on_real_devices() -> None:
    """Taken memory beside the buffers counts; emulated devices never do."""
    seen = [
        entry(0, number, taken_bytes=FORMULA_BYTES + extra * MIB)
        for number, extra in enumerate((100, 300, 200))
    ]
    found = overhead(seen, "", "CUDA")
    assert found is not None
    assert (found.n_bytes, found.count) == (300 * MIB, 3)
    emulated = [entry(0, 9, key=key(emulated=True), taken_bytes=2 * FORMULA_BYTES)]
    assert overhead(emulated, "", "CUDA") is None
    assert overhead(seen, "", "Vulkan") is None


def test_what_the_device_lost_counts_before_what_the_process_held() -> None:
    """A process's own figure holds the driver's context, which free memory lacks."""
    seen = entry(
        0,
        1,
        taken_bytes=FORMULA_BYTES + 10 * MIB,
        peak_bytes=FORMULA_BYTES + 400 * MIB,
    )
    assert seen.overhead_bytes == 10 * MIB


def test_the_summary_shows_what_corrects() -> None:
    """One line a key, with the spread and the bytes that are added by place."""
    (line,) = summary(rows([20 * MIB, 25 * MIB, 30 * MIB]), [], "1")
    assert line.corrections == {"only": 30 * MIB}
    assert line.dry_run is not None
    assert (line.dry_run.count, line.dry_run.middle) == (3, 25 * MIB)
    assert line.overhead is None
    assert line.decode_ratio is None
