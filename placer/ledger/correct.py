"""What the ledger says to the next estimate.

A correction is applied only where it helps on every entry that it was learned from:

- *up*, where the formula was under the dry run in all of at least three: by the
  largest shortfall, but never by more than twice the smallest, beyond which the entry
  with the smallest would become worse;
- *down*, where it was over in all of at least eight: by the smallest excess, so that
  none of them comes out under.

Mixed signs correct nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from placer.ledger.entry import Entry, Key

LEAST_UP = 3
LEAST_DOWN = 8
# Less than the engine's own table shows is not worth a word.
LEAST_BYTES = MIB
# Launches that overhead is taken from: a newer driver replaces what an older one took.
RECENT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What to add to the compute buffers of a formula.

    Attributes:
        n_bytes: may be negative.
        count: dry runs that say so.
        build: of the engine that they are of.
        emulated: whether its devices were.
    """

    n_bytes: int
    count: int
    build: str
    emulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """The most that was seen to be taken beside the engine's buffers.

    Attributes:
        n_bytes: on one device.
        count: observations.
        build: of the engine that they are of.
    """

    n_bytes: int
    count: int
    build: str


def correction(
    entries: Sequence[Entry], key: Key, place: str, version: str
) -> Correction | None:
    """What entries of the same backend, architecture and place amount to.

    Those of the same build and kind of device come first, then the newest build of
    that kind, then the other kind (real or emulated), which only corrects up.

    Args:
        entries: oldest first.
        key: of the estimate; a build that nobody knows takes the newest.
        place: of the device.
        version: of placer: residuals of another formula say nothing.
    """
    alike = newest(
        entry
        for entry in entries
        if entry.place == place
        and entry.key.architecture == key.architecture
        and entry.key.backend == key.backend
        and entry.version == version
    )
    for emulated in (key.emulated, not key.emulated):
        kind = [entry for entry in alike if entry.key.emulated == emulated]
        rung = of_build(kind, key.build)
        n_bytes = amount(rung)
        if emulated != key.emulated:
            n_bytes = max(n_bytes, 0)
        if rung:
            if abs(n_bytes) < LEAST_BYTES:
                return None
            return Correction(
                n_bytes=n_bytes,
                count=len(rung),
                build=rung[-1].key.build,
                emulated=emulated,
            )
    return None


def overhead(entries: Sequence[Entry], build: str, backend: str) -> Overhead | None:
    """What was seen on real devices of a backend; None where nothing was."""
    seen = [
        entry
        for entry in entries
        if entry.overhead_bytes is not None
        and entry.key.backend == backend
        and not entry.key.emulated
    ]
    rung = of_build(seen, build)[-RECENT:]
    if not rung:
        return None
    return Overhead(
        n_bytes=max(entry.overhead_bytes or 0 for entry in rung),
        count=len(rung),
        build=rung[-1].key.build,
    )


def amount(entries: Sequence[Entry]) -> int:
    """The correction in bytes that residuals support; 0 for none."""
    residuals = [e.residual_bytes for e in entries if e.residual_bytes is not None]
    if not residuals:
        return 0
    low, high = min(residuals), max(residuals)
    if low > 0 and len(residuals) >= LEAST_UP:
        return min(high, 2 * low)
    if high < 0 and len(residuals) >= LEAST_DOWN:
        return high
    return 0


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """The last entry on each subject that has a residual, oldest first."""
    found: dict[object, Entry] = {}
    for entry in entries:
        if entry.residual_bytes is not None:
            found.pop(entry.subject, None)
            found[entry.subject] = entry
    return list(found.values())


def of_build(entries: Sequence[Entry], build: str) -> list[Entry]:
    """Those of the build, else of the build that was seen last."""
    same = [entry for entry in entries if entry.key.build == build]
    if same or not entries:
        return same
    last = entries[-1].key.build
    return [entry for entry in entries if entry.key.build == last]
