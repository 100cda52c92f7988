"""Bytes are ``int`` everywhere; MiB exist here, at parse and at print."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


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


def pad(n: int, to: int) -> int:
    """The smallest multiple of ``to`` that is not below ``n``."""
    return -(-n // to) * to
