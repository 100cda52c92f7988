"""A mixture of 80 MiB, and desks to plan it on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

import placer
from placer.app.desk import Desk, open_desk
from placer.app.planned import planner_of
from placer.plan import Planner
from placer.testing.models import write_qwen3moe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

Planned = tuple[Desk, Planner]


class Planning(Protocol):
    """Opens a desk with the mixture, and says who plans it."""

    def __call__(
        self, devices: str = ..., *, ctx: int = ...
    ) -> AbstractContextManager[Planned]: ...


@pytest.fixture(scope="session")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six layers, trained for 131072 tokens."""
    path = tmp_path_factory.mktemp("mixture") / "moe.gguf"
    return str(write_qwen3moe(path, n_layer=6, n_expert=16, n_ff_exp=512))


@pytest.fixture
def planning(mixture: str) -> Planning:
    """By default on two devices of which neither holds all of it, and both do."""

    @contextmanager
    def opened(
        devices: str = "Vulkan0:60,Vulkan1:60", *, ctx: int = 8192
    ) -> Iterator[Planned]:
        values = {"ctx": ctx, "ubatch": 128, "parallel": 1}
        where, request = placer.Where(devices=devices), placer.Request(values=values)
        with open_desk(mixture, where, request) as desk:
            yield desk, planner_of(desk, (0,) * len(desk.machine.devices))

    return opened


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any start of an engine would fail."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", "/nowhere/llama-server")
    monkeypatch.setenv("PATH", "")
