"""Records of a study, as a journal gives them back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from placer.search.records import StudyRecord
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable


def breakdown(model: int, context: int | None, compute: int | None) -> dict[str, Any]:
    """A triple of MiB."""
    parts = {"model": model, "context": context, "compute": compute}
    return {f"{k}_bytes": None if v is None else v * MIB for k, v in parts.items()}


def estimate(source: str) -> dict[str, Any]:
    """An estimate for two devices and the host."""
    return {
        "source": source,
        "devices": [breakdown(100, 10, 20), breakdown(50, None, 5)],
        "host": breakdown(7, 0, None),
        "graph_splits": [3, 3],
    }


def flags(slots: list[int], kept: list[int] | None) -> list[str]:
    """Flags that differ as placements do."""
    split = ",".join(map(str, slots))
    args = ["-m", "/models/a b/m.gguf", "-c", "512", "-ngl", "31", "-ts", split]
    if kept is not None:
        args += ["-ot", f"all but {' and '.join(map(str, kept))}=CPU"]
    return args


def make_trial(**changes: Any) -> dict[str, Any]:
    """A launch that ran out of memory at its compute buffers, but for the changes."""
    trial = {
        "kind": "trial",
        "number": 1,
        "strategy": "C",
        "slots": [20, 11],
        "kept": None,
        "args": flags(changes.get("slots", [20, 11]), changes.get("kept")),
        "formula": estimate("formula"),
        "dry_run": estimate("dry-run"),
        "purpose": "the plan's answer",
        "predicted": None,
        "verdict": "OOM_COMPUTE",
        "device": "CUDA0",
        "phase": "compute",
        "asked_bytes": 24 * MIB,
        "free_bytes": 11 * MIB,
        "evidence": ["cudaMalloc failed: out of memory"],
        "cause": None,
        "stage": "loading",
        "exit_code": 1,
        "buffers": [],
        "free_before_bytes": [200 * MIB, 200 * MIB],
        "peak_bytes": None,
        "graph_splits": None,
        "pipelined": False,
        "prompt_tokens": 0,
        "prompt_tokens_per_s": None,
        "prefill_tokens_per_s": None,
        "decode_tokens_per_s": None,
        "single": None,
        "load_s": None,
        "total_s": 1.5,
    }
    assert set(changes) <= set(trial)
    return trial | changes


def make_fit(**changes: Any) -> dict[str, Any]:
    """A launch that was filled and decoded."""
    fit: dict[str, Any] = {
        "verdict": "FITS",
        "device": None,
        "phase": None,
        "asked_bytes": None,
        "free_bytes": None,
        "evidence": [],
        "stage": "done",
        "exit_code": None,
        "graph_splits": [3, 3],
        "prompt_tokens": 1490,
        "prompt_tokens_per_s": 2000.0,
        "predicted": {
            "depth": 512,
            "decode_tokens_per_s": [40.0, 48.04, 60.0],
            "prefill_tokens_per_s": [500.0, 1000.0, 1600.0],
        },
        "prefill_tokens_per_s": 900.0,
        "decode_tokens_per_s": 50.0,
        "load_s": 1.0,
    }
    return make_trial(**(fit | changes))


def make_study(*trials: dict[str, Any], **changes: Any) -> StudyRecord:
    """A study of those trials, of two cards.

    Keywords are ``folder``, ``best``, ``stopped``, ``limits``, ``skipped``,
    ``unanswered``, ``others``, ``ended`` and keys of the header.
    """
    folder = Path("search_logs/m") / changes.pop("folder", "20261123-140211")
    end = {
        "best": changes.pop("best", None),
        "stopped": changes.pop("stopped", None),
        "limits": changes.pop("limits", []),
    }
    ended = changes.pop("ended", True)
    skipped, unanswered = changes.pop("skipped", ()), changes.pop("unanswered", ())
    others = changes.pop("others", ())
    header = {
        "profile": "m",
        "started": "2026-11-23T14:02:11+00:00",
        "model": {
            "name": "m.gguf",
            "architecture": "llama",
            "shards": 1,
            "size_bytes": 157 * MIB,
            "n_layer": 30,
            "fingerprint": "0123456789abcdef",
        },
        "workload": {
            "ctx": 512,
            "batch": 2048,
            "ubatch": 512,
            "parallel": 1,
            "kv_unified": False,
            "type_k": "f16",
            "type_v": "f16",
            "flash_attn": "auto",
            "swa_full": False,
            "kv_offload": True,
            "op_offload": True,
        },
        "extra_args": [],
        "devices": [
            {
                "name": name,
                "description": "a card",
                "total_bytes": 256 * MIB,
                "free_bytes": 200 * MIB,
                "driver": None,
            }
            for name in ("CUDA0", "CUDA1")
        ],
        "engine": "10434 (7e4c0a9)",
        "image": None,
        "proof": "full",
        "goal": "decode",
        "margins_bytes": [0, 0],
        "by_launch": False,
    }
    assert set(changes) <= set(header)
    return StudyRecord(
        folder=folder,
        header=header | changes,
        skipped=tuple(skipped),
        trials=trials,
        in_flight=tuple({"number": number} for number in unanswered),
        end={**end, "launches": len(trials)} if ended else None,
        others=tuple(others),
    )


@pytest.fixture
def trial() -> Callable[..., dict[str, Any]]:
    """Makes a launch that ran out of memory."""
    return make_trial


@pytest.fixture
def fit() -> Callable[..., dict[str, Any]]:
    """Makes a launch that fitted."""
    return make_fit


@pytest.fixture
def study() -> Callable[..., StudyRecord]:
    """Makes a study."""
    return make_study
