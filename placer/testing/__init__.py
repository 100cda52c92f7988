"""Machines to test on, for placer's own suite and for anyone else's.

What needs ``subprocess`` or a compiler is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.testing.emulation import (
        EmulatedMachine,
        EmulatedWatch,
        shader_cache_is_cold,
    )
    from placer.testing.engine import bundled_engine
    from placer.testing.rpc import RpcDevices
    from placer.testing.state import ProcessUsage

_HOMES = {
    "EmulatedMachine": "emulation",
    "EmulatedWatch": "emulation",
    "ProcessUsage": "state",
    "RpcDevices": "rpc",
    "bundled_engine": "engine",
    "shader_cache_is_cold": "emulation",
}

__all__ = [
    "EmulatedMachine",
    "EmulatedWatch",
    "ProcessUsage",
    "RpcDevices",
    "bundled_engine",
    "shader_cache_is_cold",
]


def __getattr__(name: str) -> object:
    """The public names, each from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
