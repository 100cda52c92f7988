from __future__ import annotations

from placer.engine.log import read_log
from placer.units import from_mib


def test_what_a_projector_takes_is_read_off_the_log() -> None:
    """As server-context.cpp of build 11434 words it; None where it says nothing."""
    line = (
        "0.01.23.456 T srv load_model: [mtmd] estimated worst-case memory usage of "
        "mmproj is 912.34 MiB (took 12.30 ms)"
    )

    assert read_log([line]).projector_bytes == from_mib(912.34)
    assert read_log(["nothing"]).projector_bytes is None
