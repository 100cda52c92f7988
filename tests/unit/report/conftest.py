"""Records of a study, as a journal gives them back; journals of benches."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from placer.search.journal import SCHEMA, Journal
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


SCORE = {"k": 1, "mean": 0.75, "low": 0.5, "high": 0.9, "problems": 4, "samples": 4}
ASKED: dict[str, dict[str, Any]] = {
    "quality": {
        "suite": "humaneval",
        "title": "HumanEval",
        "digest": "abc",
        "problems": ["HumanEval/0", "HumanEval/1", "HumanEval/2", "HumanEval/3"],
        "samples": 1,
        "k": [1],
        "sampling": {"temperature": 0},
        "style": "chat",
        "max_tokens": 96,
        "users": 1,
        "sandbox": "bubblewrap",
    },
    "speed": {
        "depths": [0, 256],
        "batches": [512],
        "ubatches": [256],
        "users": [1],
        "repeats": 3,
        "seed": 1,
        "n_prompt": 512,
        "n_gen": 128,
    },
    "sweep": {
        "factors": [
            {
                "name": "ctk",
                "values": ["f16", "q8_0", "q4_0"],
                "base": "f16",
                "restarts": True,
            }
        ],
        "measures": ["kl", "vram"],
        "repeats": 2,
        "seed": 1,
        "experiment": None,
        "suite": None,
    },
    "smoke": {},
}
ENDS: dict[str, dict[str, Any]] = {
    "quality": {
        "scores": [SCORE],
        "base": [],
        "grades": {"passed": 3, "failed": 1},
        "truncated": 0,
        "tokens": 400,
        "seconds": 12.5,
        "decode_tokens_per_s": 61.25,
        "held_bytes": [100 * MIB, 28 * MIB],
        "joules": None,
    },
    "speed": {"rows": []},
    "sweep": {"contrasts": [], "best": {}, "cells": []},
    "smoke": {
        "status": "new",
        "reason": "no smoke test of it is on record",
        "is_pair": False,
        "accepted": False,
        "old": None,
        "new": {"name": "10434 (7e4c0a9)", "file": "llama-server"},
        "recorded": None,
        "figures": [],
        "notes": [],
    },
}


@dataclass(slots=True, kw_only=True)
class BenchWriter:
    """Writes journals as benches do, each a minute after the last.

    Attributes:
        logs: where they lie.
    """

    logs: Path
    _minute: int = field(default=0, init=False)

    def write(
        self, kind: str, *lines: tuple[str, dict[str, Any]], **changes: Any
    ) -> Path:
        """The journal of a run, whole unless ``stopped`` or not ``ended``.

        Keywords are ``profile``, ``stamp``, ``stopped``, ``ended``, ``end`` and keys
        of the header.
        """
        stamp = changes.pop("stamp", f"20261123-14{self._minute:02}11")
        self._minute += 1
        profile = changes.pop("profile", "m")
        stopped, is_ended = changes.pop("stopped", None), changes.pop("ended", True)
        end = ENDS[kind] | changes.pop("end", {})
        header = {
            **make_study().header,
            "schema": SCHEMA,
            "profile": profile,
            "emulated": False,
            "placement": ["-ngl", "31"],
            "placed": "as models.conf has it",
            "changed": [],
            **ASKED[kind],
        }
        assert set(changes) <= set(header)
        with closing(Journal(self.logs / profile / kind / stamp)) as journal:
            journal.append(kind, header | changes)
            for name, line in lines:
                journal.append(name, line)
            if is_ended:
                journal.append("end", {"stopped": stopped, **end})
        return journal.path


@pytest.fixture
def benches(tmp_path: Path) -> BenchWriter:
    """Writes journals of benches."""
    logs = tmp_path / "search_logs"
    logs.mkdir()
    return BenchWriter(logs=logs)
