"""The real bubblewrap."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from placer.sandbox import find_sandbox

if TYPE_CHECKING:
    from placer.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The sandbox of this machine, seen to hold."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    return find_sandbox("bubblewrap")
