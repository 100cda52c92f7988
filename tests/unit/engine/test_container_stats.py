from __future__ import annotations

from typing import Any

from placer.engine.container_stats import ContainerReading, read_stats
from placer.units import GIB, MIB

SECOND = 10**9


def sample(own_s: float, whole_s: float) -> dict[str, Any]:
    """What the daemon says after so many seconds of work, on four cores."""
    return {
        "cpu_stats": {
            "cpu_usage": {"total_usage": own_s * SECOND},
            "system_cpu_usage": whole_s * SECOND,
            "online_cpus": 4,
        },
        "memory_stats": {
            "usage": 3 * GIB,
            "limit": 8 * GIB,
            "stats": {"inactive_file": 512 * MIB},
        },
    }


def test_two_samples_make_a_share() -> None:
    """As docker stats has it: two whole cores are 200 %, file cache is no use."""
    assert read_stats(sample(12, 44), sample(10, 40)) == ContainerReading(
        cpu_percent=200.0, memory_bytes=2560 * MIB, limit_bytes=8 * GIB
    )


def test_one_sample_makes_none() -> None:
    """Since when would it be?"""
    assert read_stats(sample(12, 44), {}).cpu_percent is None
    assert read_stats(sample(12, 44), sample(12, 44)).cpu_percent is None


def test_a_daemon_that_says_little() -> None:
    """Memory without a figure is not known, not nothing."""
    reading = read_stats({"memory_stats": {"limit": GIB}}, sample(1, 2))
    assert reading == ContainerReading(
        cpu_percent=None, memory_bytes=None, limit_bytes=GIB
    )
