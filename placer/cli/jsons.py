"""What ``--json`` prints. Schemas are documented in docs/json.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from placer.search.trial import breakdown_record, estimate_record, trial_record

if TYPE_CHECKING:
    from placer.app import Applied, Inspection, Optimized, Plan, Rated
    from placer.machine import Device, Machine
    from placer.memory import MemoryEstimate

SCHEMA = 1


def emit(record: dict[str, Any]) -> None:
    """Print one JSON document."""
    click.echo(json.dumps({"schema": SCHEMA, **record}, indent=2, ensure_ascii=False))


def machine_record(machine: Machine) -> dict[str, Any]:
    """A machine as ``devices --json`` prints it."""
    return {
        "engine": machine.engine_build,
        "devices": [_device(device) for device in machine.devices],
        "host": {
            "total_bytes": machine.host_total_bytes,
            "free_bytes": machine.host_free_bytes,
        },
    }


def inspection_record(inspection: Inspection) -> dict[str, Any]:
    """A model as ``inspect --json`` prints it."""
    file, shape = inspection.file, inspection.shape
    return {
        "name": shape.name,
        "architecture": shape.architecture,
        "files": [path.name for path in file.shards],
        "size_bytes": file.size_bytes,
        "weight_bytes": shape.weight_bytes,
        "n_layer": shape.n_layer_all,
        "n_layer_nextn": shape.n_layer_nextn,
        "n_embd": shape.n_embd,
        "n_vocab": shape.n_vocab,
        "n_expert": shape.n_expert,
        "n_expert_used": shape.n_expert_used,
        "context_length": shape.context_length,
        "n_swa": shape.n_swa,
        "is_mla": shape.is_mla,
        "context": "formula" if shape.cache_unknown is None else "ask the engine",
        "layers": [
            {
                "index": layer.index,
                "dense_bytes": layer.dense_bytes,
                "expert_bytes": layer.expert_bytes,
                "n_head_kv": layer.n_head_kv,
                "is_swa": layer.is_swa,
                "is_recurrent": layer.recurrent_elements > 0,
            }
            for layer in shape.layers
        ],
    }


def rated_record(rated: Rated, machine: Machine) -> dict[str, Any]:
    """A placement as ``estimate --json`` prints it."""
    best = rated.dry_run or rated.candidate.estimate
    return {
        "fits": min(rated.headroom_bytes) >= 0,
        "strategy": rated.candidate.strategy.value,
        "devices": [
            {
                "name": device.name,
                "total_bytes": device.total_bytes,
                "free_bytes": device.free_bytes,
                **breakdown_record(held),
                "overhead_bytes": None,
                "headroom_bytes": headroom,
            }
            for device, held, headroom in zip(
                machine.devices, best.devices, rated.headroom_bytes, strict=True
            )
        ],
        "host": breakdown_record(best.host),
        "graph_splits": best.graph_splits,
        "source": dict.fromkeys(("model", "context", "compute"), best.source),
        "formula": estimate_record(rated.candidate.estimate),
        "dry_run": _estimate_or_none(rated.dry_run),
        "args": list(rated.args),
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """Ranked candidates as ``plan --json`` prints them."""
    return {
        "name": plan.target.name,
        "candidates": [
            {"rank": rank, **rated_record(rated, plan.machine)}
            for rank, rated in enumerate(plan.candidates, start=1)
        ],
    }


def optimized_record(result: Optimized) -> dict[str, Any]:
    """A search as ``optimize --json`` prints it."""
    found = result.study.found
    return {
        "name": result.target.name,
        "study": str(result.study.folder),
        "found": trial_record(found.trial),
        "boundary": [trial_record(trial) for trial in found.boundary],
        "launches": len(found.trials),
        "stopped": found.stopped,
        "applied": None if result.applied is None else applied_record(result.applied),
    }


def applied_record(applied: Applied) -> dict[str, Any]:
    """A write to models.conf as ``apply --json`` prints it."""
    return {"written": applied.written, "diff": applied.diff}


def _device(device: Device) -> dict[str, Any]:
    facts = device.nvml
    return {
        "name": device.name,
        "buffer_type": device.buffer_type,
        "description": device.description,
        "backend": device.backend,
        "total_bytes": device.total_bytes,
        "free_bytes": device.free_bytes,
        "nvml": None
        if facts is None
        else {
            "pci_bus_id": facts.pci_bus_id,
            "driver": facts.driver,
            "link_generation": facts.link_generation,
            "link_width": facts.link_width,
            "memory_clock_mhz": facts.memory_clock_mhz,
            "memory_bus_bits": facts.memory_bus_bits,
            "bandwidth_bytes_per_s": facts.bandwidth_bytes_per_s,
            "processes": [
                {"pid": p.pid, "name": p.name, "used_bytes": p.used_bytes}
                for p in facts.processes
            ],
        },
    }


def _estimate_or_none(estimate: MemoryEstimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate_record(estimate)
