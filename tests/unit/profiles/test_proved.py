from __future__ import annotations

from datetime import date
from pathlib import Path

from placer.profiles import Edit, Proved, parse_conf, read_proved
from placer.units import MIB

FACTS = {
    "proved": "2026-11-23",
    "proof": "full",
    "engine": "10434 (7e4c0a9)",
    "strategy": "C",
    "free.CUDA0": "23671MiB",
    "peak.CUDA0": "22911MiB",
    "free.CUDA1": "12761MiB",
    "decode_tokens_per_s": "105.3",
}


def read(facts: dict[str, str]) -> Proved | None:
    """What is read of a profile with these facts beside it."""
    conf = parse_conf(b"[x]\nMODEL=m\n", Path("models.conf"))
    edit = Edit(on=date(2026, 11, 23), provenance=facts)
    return read_proved(conf.updated("x", edit).profile("x"))


def test_facts_are_read_as_figures() -> None:
    """Bytes, rates, and what a device had left where both of its figures are there."""
    proved = read(FACTS)
    assert proved is not None
    first, second = proved.devices
    assert (proved.day, proved.engine) == ("2026-11-23", "10434 (7e4c0a9)")
    assert (first.name, first.left_bytes) == ("CUDA0", 760 * MIB)
    assert (second.free_bytes, second.left_bytes) == (12761 * MIB, None)
    assert (proved.decode_tokens_per_s, proved.prompt_tokens_per_s) == (105.3, None)
    assert not proved.emulated


def test_a_figure_that_cannot_be_read_is_not_known() -> None:
    """Somebody wrote into the comment; nothing breaks."""
    broken = {"free.CUDA0": "lots", "peak.CUDA0": "-1MiB", "decode_tokens_per_s": "1e9"}
    proved = read({**FACTS, **broken, "emulated": "yes"})
    assert proved is not None
    assert proved.devices[0].left_bytes is None
    assert proved.decode_tokens_per_s is None
    assert proved.emulated


def test_facts_without_a_day_prove_nothing() -> None:
    """Nor does a profile without facts."""
    assert read({"engine": "b1"}) is None
    assert read({}) is None
