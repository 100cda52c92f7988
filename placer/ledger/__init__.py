"""What formula, dry run and observation said of the same launch, kept over time."""

from placer.ledger.correct import Correction, Overhead, correction, overhead
from placer.ledger.entry import Entry, Key
from placer.ledger.ledger import Ledger, default_path

__all__ = [
    "Correction",
    "Entry",
    "Key",
    "Ledger",
    "Overhead",
    "correction",
    "default_path",
    "overhead",
]
