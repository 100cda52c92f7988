from __future__ import annotations

from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.ledger import Key, Pace, SpeedEntry, taught
from placer.ledger.speeds import NEAREST, WIDEST, ratios_of, speed_of_record
from placer.ledger.summary import summary
from placer.speed import FIELD_NOTES

PREDICTED = Pace(decode_tokens_per_s=100.0, prefill_tokens_per_s=2000.0)
ratios = st.floats(0.01, 100.0)


def key(architecture: str = "llama", build: str = "11434 (abc)") -> Key:
    """A key of real CUDA devices."""
    return Key(build=build, backend="CUDA", emulated=False, architecture=architecture)


def entry(ratio: float, launch: int, **changes: Any) -> SpeedEntry:
    """A launch that was so many times as fast as predicted."""
    fields: dict[str, Any] = {
        "when": "2026-11-28T12:00:00+00:00",
        "version": "1",
        "key": key(),
        "model": "m.gguf",
        "launch": f"{launch:016x}",
        "devices": ("a card",),
        "predicted": PREDICTED,
        "measured": Pace(
            decode_tokens_per_s=100.0 * ratio, prefill_tokens_per_s=2000.0 * ratio
        ),
    }
    return SpeedEntry(**(fields | changes))


def rows(seen: list[float], **changes: Any) -> list[SpeedEntry]:
    """One launch a ratio."""
    return [entry(ratio, number, **changes) for number, ratio in enumerate(seen)]


@given(st.lists(ratios, min_size=1, max_size=20))
def test_what_is_learned_brings_the_median_to_one(seen: list[float]) -> None:
    """Predicted again, as many launches are faster as are slower."""
    entries = rows(seen)
    learned = taught(FIELD_NOTES, entries, "llama")
    decode = [e.decode_ratio / learned.decode_factor for e in entries]
    prefill = [(e.prefill_ratio or 0.0) / learned.prefill_factor for e in entries]
    assert median(decode) == pytest.approx(1.0)
    assert median(prefill) == pytest.approx(1.0)


@given(st.lists(ratios, min_size=1, max_size=20))
def test_the_interval_holds_what_was_seen_within_reason(seen: list[float]) -> None:
    """Never under a tenth, never beyond a factor of three, and else all ratios."""
    low, high = taught(FIELD_NOTES, rows(seen), "llama").decode_spread
    middle = median(seen)
    assert WIDEST[0] <= low <= 1 - NEAREST
    assert 1 + NEAREST <= high <= WIDEST[1]
    for ratio in seen:
        assert low <= max(ratio / middle, WIDEST[0]) * (1 + 1e-9)
        assert min(ratio / middle, WIDEST[1]) <= high * (1 + 1e-9)


def test_nothing_seen_teaches_nothing() -> None:
    """The calibration is what it was."""
    assert taught(FIELD_NOTES, [], "llama") is FIELD_NOTES


def test_one_launch_of_the_architecture_comes_before_many_of_others() -> None:
    """Its own word counts alone, and the source says whose it is."""
    entries = [*rows([0.5] * 5, key=key("qwen3")), entry(0.9, 9)]
    learned = taught(FIELD_NOTES, entries, "llama")
    assert learned.decode_factor == pytest.approx(0.9)
    assert learned.source == (
        f"1 launch on these devices (llama), beside {FIELD_NOTES.source}"
    )


def test_others_speak_for_it_where_there_are_two() -> None:
    """One launch of another architecture says nothing."""
    other = rows([0.5, 0.7], key=key("qwen3"))
    assert taught(FIELD_NOTES, other[:1], "llama") is FIELD_NOTES
    learned = taught(FIELD_NOTES, other, "llama")
    assert learned.decode_factor == pytest.approx(0.6)
    assert learned.source.startswith("2 launches on these devices (qwen3), beside ")


def test_many_architectures_are_counted() -> None:
    """The source stays one line."""
    entries = [entry(1.0, n, key=key(f"arch{n}")) for n in range(4)]
    learned = taught(FIELD_NOTES, entries, "llama")
    assert "4 launches on these devices (4 architectures)" in learned.source


def test_the_newest_measurement_of_a_launch_counts() -> None:
    """Whatever the engine's build; a launch is never counted twice."""
    again = [entry(0.5, 1), entry(0.8, 1, key=key(build="11500 (def)"))]
    learned = taught(FIELD_NOTES, again, "llama")
    assert learned.decode_factor == pytest.approx(0.8)
    assert learned.source.startswith("1 launch ")


def test_old_launches_are_forgotten() -> None:
    """Twenty newer ones take their place."""
    entries = [*rows([9.0] * 20), *[entry(1.0, n) for n in range(100, 120)]]
    assert taught(FIELD_NOTES, entries, "llama").decode_factor == 1.0


def test_prefill_that_was_not_measured_stays_as_it_was() -> None:
    """Decoding is learned alone."""
    seen = Pace(decode_tokens_per_s=90.0, prefill_tokens_per_s=None)
    learned = taught(FIELD_NOTES, [entry(1.0, 1, measured=seen)], "llama")
    assert learned.decode_factor == pytest.approx(0.9)
    assert learned.prefill_factor == FIELD_NOTES.prefill_factor
    assert learned.prefill_spread == FIELD_NOTES.prefill_spread


def test_the_rest_of_the_calibration_is_kept() -> None:
    """Efficiencies and latencies are not what launches teach."""
    learned = taught(FIELD_NOTES, rows([0.5]), "llama")
    assert learned.device_efficiency == FIELD_NOTES.device_efficiency
    assert learned.node_s == FIELD_NOTES.node_s


def test_the_summary_shows_ratios_of_this_version() -> None:
    """Count, least, median and most; other versions predicted otherwise."""
    entries = [*rows([0.5, 0.7, 0.9]), entry(7.0, 8, version="0")]
    (line,) = summary([], entries, "1")
    assert line.key == key()
    assert line.dry_run is None
    assert line.decode_ratio is not None
    assert line.prefill_ratio == line.decode_ratio
    assert line.decode_ratio.count == 3
    assert line.decode_ratio.middle == pytest.approx(0.7)
    assert ratios_of([]) == (None, None)


@pytest.mark.parametrize("figure", [0, -1.0, float("nan"), float("inf"), "1", None])
def test_a_speed_that_cannot_be_is_no_entry(figure: object) -> None:
    """Nothing is divided by it later."""
    from placer.ledger.speeds import speed_record

    record = speed_record(entry(1.0, 1))
    record["predicted"] = record["predicted"] | {"decode_tokens_per_s": figure}
    with pytest.raises((TypeError, ValueError)):
        speed_of_record(record)
