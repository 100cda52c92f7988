"""Bytes and seconds, as they are parsed and printed: MiB exist here alone."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def mib(n_bytes: int) -> float:
    """The same size in MiB."""
    return n_bytes / MIB


def from_mib(n_mib: float) -> int:
    """The same size in bytes, rounded to the nearest."""
    return round(n_mib * MIB)


def size_text(n_bytes: int) -> str:
    """A size as a person reads it: ``"8.1 MiB"``, ``"512 MiB"``, ``"23.1 GiB"``."""
    magnitude = abs(n_bytes)
    if magnitude >= 10 * GIB:
        return f"{n_bytes / GIB:.1f} GiB"
    if MIB <= magnitude < 100 * MIB:
        return f"{n_bytes / MIB:.1f} MiB"
    if magnitude >= MIB:
        return f"{n_bytes / MIB:,.0f} MiB"
    if magnitude >= KIB:
        return f"{n_bytes / KIB:.0f} KiB"
    return f"{n_bytes} B"


def duration_text(seconds: float) -> str:
    """A time as a person reads it: ``"42 s"``, ``"5 min"``, ``"3 h 05 min"``."""
    whole = int(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def pad(n: int, to: int) -> int:
    """The smallest multiple of ``to`` that is not below ``n``."""
    return -(-n // to) * to
