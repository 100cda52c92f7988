"""argv in, text and exit code out; no logic."""

from placer.cli.main import main

__all__ = ["main"]
