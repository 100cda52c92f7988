"""HumanEval, and the real bubblewrap."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from placer.quality.suite import load_suite
from placer.sandbox import find_sandbox

if TYPE_CHECKING:
    from placer.quality.suite import Suite
    from placer.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox of this machine, seen to hold."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return find_sandbox("bubblewrap")


@pytest.fixture(scope="session")
def human_eval() -> Suite:
    """All 164 problems."""
    return load_suite("humaneval")
