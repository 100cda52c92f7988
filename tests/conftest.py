"""Tiny models that several folders of tests share."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# No law is timed: what is slow on a busy machine is not wrong. scripts/bench measures.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def moe_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four layers of experts, about 25 MiB."""
    from placer.testing.models import write_qwen3moe

    path = tmp_path_factory.mktemp("models") / "moe.gguf"
    return write_qwen3moe(path, n_layer=4, n_ff_exp=512, n_expert=16, n_head_kv=4)


@pytest.fixture(scope="session")
def dense_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five layers and a big vocabulary, about 42 MiB."""
    from placer.testing.models import write_llama

    path = tmp_path_factory.mktemp("models") / "dense.gguf"
    return write_llama(path, n_layer=5, n_embd=512, n_ff=1536, n_vocab=8192)


@pytest.fixture(scope="session", autouse=True)
def _no_core_files() -> None:
    """Engines that die on purpose leave nothing in the folder."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


@pytest.fixture(scope="session", autouse=True)
def _no_user_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a whole module launch stays out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ledger")
        patch.setenv("PLACER_LEDGER", str(folder / "ledger.jsonl"))
        patch.setenv("PLACER_CACHE", str(folder))
        patch.setenv("PLACER_STATE", str(folder / "servers"))
        yield


@pytest.fixture(autouse=True)
def _own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test learns from another, or from the user's own machine."""
    monkeypatch.setenv("PLACER_LEDGER", str(tmp_path / "ledger.jsonl"))
    monkeypatch.setenv("PLACER_STATE", str(tmp_path / "servers"))
