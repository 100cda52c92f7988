"""The real engine's dry runs fill the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.rated import estimate
from placer.ledger import Ledger
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]


def test_a_dry_run_is_kept_beside_the_formula(tmp_path: Path, moe_path: Path) -> None:
    """Device by device, once for the same launch, and apart from real devices."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    where = placer.Where(emulate=(200, 100), ledger=ledger.path)
    request = placer.Request(values={"ctx": 1024, "parallel": 1})
    rated = [
        estimate(str(moe_path), where, request, ("-ts", "3,2")).rated for _ in range(2)
    ]

    assert all(one.dry_run is not None for one in rated)
    entries = ledger.entries()
    assert [(e.device, e.place) for e in entries] == [
        ("Vulkan0", "first"),
        ("Vulkan1", "last"),
        ("host", "host"),
    ]
    assert all(e.key.emulated and e.key.backend == "Vulkan" for e in entries)
    assert all(abs(e.residual_bytes or 0) < 64 * MIB for e in entries)
    assert all(e.residual_bytes is not None for e in entries)
