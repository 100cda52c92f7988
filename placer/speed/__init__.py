"""ModelShape + Workload + Placement -> tokens per second, by a model; pure."""

from placer.speed.calibration import FIELD_NOTES, Calibration
from placer.speed.predict import Interval, Speed, predict
from placer.speed.rates import Rates, rates_of
from placer.speed.table import CostTable, Group, cost_table

__all__ = [
    "FIELD_NOTES",
    "Calibration",
    "CostTable",
    "Group",
    "Interval",
    "Rates",
    "Speed",
    "cost_table",
    "predict",
    "rates_of",
]
