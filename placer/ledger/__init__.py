"""What formula, dry run and observation said of the same launch, kept over time."""

from placer.ledger.correct import Correction, Overhead, correction, overhead
from placer.ledger.entry import Entry, Key
from placer.ledger.ledger import Ledger, default_path
from placer.ledger.speeds import Pace, SpeedEntry, taught

__all__ = [
    "Correction",
    "Entry",
    "Key",
    "Ledger",
    "Overhead",
    "Pace",
    "SpeedEntry",
    "correction",
    "default_path",
    "overhead",
    "taught",
]
