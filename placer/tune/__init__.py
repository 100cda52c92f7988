"""Tuning beyond placement: settings are asked of Optuna, launched, and told to it."""
