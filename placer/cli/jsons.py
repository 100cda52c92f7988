"""What ``--json`` prints. Schemas are documented in docs/json.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from placer.memory.records import breakdown_record, memory_record

if TYPE_CHECKING:
    from placer.app import (
        Applied,
        Companion,
        Estimated,
        Inspection,
        Optimized,
        Plan,
        Rated,
    )
    from placer.app.target import Target
    from placer.machine import Device, Machine
    from placer.memory import MemoryEstimate
    from placer.speed import Interval

SCHEMA = 1


def emit(record: dict[str, Any]) -> None:
    """Print one JSON document."""
    click.echo(json.dumps({"schema": SCHEMA, **record}, indent=2, ensure_ascii=False))


def machine_record(machine: Machine) -> dict[str, Any]:
    """A machine as ``devices --json`` prints it."""
    return {
        "name": machine.name,
        "engine": machine.engine_build,
        "devices": [_device(device) for device in machine.devices],
        "host": {
            "total_bytes": machine.host_total_bytes,
            "free_bytes": machine.host_free_bytes,
            "bandwidth_bytes_per_s": machine.host_bandwidth_bytes_per_s,
        },
        "unified": machine.is_unified,
        "sources": list(machine.sources),
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


def asked_record(target: Target, machine: Machine) -> dict[str, Any]:
    """What was asked, of which model, on which machine."""
    return {
        "name": target.name,
        "machine": machine.name,
        "engine": machine.engine_build,
        "workload": asdict(target.workload),
    }


def rated_record(rated: Rated, machine: Machine) -> dict[str, Any]:
    """A placement as ``estimate --json`` and ``plan --json`` print it."""
    best = rated.best
    return {
        "fits": rated.fits,
        "strategy": rated.candidate.strategy.value,
        "devices": _held_records(rated, machine),
        "host": {
            **breakdown_record(best.host),
            "beside_bytes": sum(c.host.total_bytes for c in rated.companions),
            "free_bytes": machine.host_free_bytes,
        },
        "expert_bytes_on_host": rated.expert_bytes_on_host,
        "graph_splits": best.graph_splits,
        "decode_tokens_per_s": _interval(rated.candidate.speed.decode),
        "prefill_tokens_per_s": _interval(rated.candidate.speed.prefill),
        "gap": rated.candidate.gap,
        "source": _sources(best),
        "tightest": machine.devices[rated.tightest].name,
        "notes": list(rated.notes),
        "companions": [
            _companion(companion, machine) for companion in rated.companions
        ],
        "formula": memory_record(rated.candidate.estimate),
        "dry_run": None if rated.dry_run is None else memory_record(rated.dry_run),
        "args": list(rated.args),
    }


def _held_records(rated: Rated, machine: Machine) -> list[dict[str, Any]]:
    """What each device holds, and what it has left."""
    overhead = rated.overhead_bytes(machine)
    return [
        {
            "name": device.name,
            "total_bytes": device.total_bytes,
            "free_bytes": device.free_bytes,
            **breakdown_record(held),
            "beside_bytes": sum(c.devices[index].total_bytes for c in rated.companions),
            "overhead_bytes": overhead[index],
            "headroom_bytes": rated.headroom_bytes[index],
        }
        for index, (device, held) in enumerate(
            zip(machine.devices, rated.best.devices, strict=True)
        )
    ]


def estimate_record(found: Estimated) -> dict[str, Any]:
    """A placement as ``estimate --json`` prints it."""
    return {
        **asked_record(found.target, found.machine),
        **rated_record(found.rated, found.machine),
        "reliefs": [
            {"args": list(relief.args), "freed_bytes": relief.freed_bytes}
            for relief in found.reliefs
        ],
    }


def _interval(figure: Interval) -> list[float]:
    """Low, middle, high."""
    return [round(n, 2) for n in (figure.low, figure.mid, figure.high)]


def _sources(best: MemoryEstimate) -> dict[str, str | None]:
    """Who says each figure; None where nobody knows it."""
    rows = (*best.devices, best.host)
    parts: dict[str, list[int | None]] = {
        "model": [held.model_bytes for held in rows],
        "context": [held.context_bytes for held in rows],
        "compute": [held.compute_bytes for held in rows],
    }
    return {
        part: None if None in sizes else best.source for part, sizes in parts.items()
    }


def _companion(companion: Companion, machine: Machine) -> dict[str, Any]:
    pairs = zip(machine.devices, companion.devices, strict=True)
    return {
        "kind": companion.kind,
        "name": companion.name,
        "devices": [{"name": d.name, **breakdown_record(held)} for d, held in pairs],
        "host": breakdown_record(companion.host),
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """Ranked candidates as ``plan --json`` prints them."""
    machine = plan.machine

    def record(rated: Rated | None) -> dict[str, Any] | None:
        return None if rated is None else rated_record(rated, machine)

    explained = plan.explained
    return {
        **asked_record(plan.target, machine),
        "goal": plan.goal.value,
        "depth": plan.depth,
        "margins_bytes": list(plan.margins_bytes),
        "seconds": round(plan.seconds, 4),
        "dry_run_seconds": round(plan.dry_run_seconds, 4),
        "calibration": plan.calibration,
        "assumed": list(plan.assumed),
        "candidates": [
            {"rank": rank, **rated_record(rated, machine)}
            for rank, rated in enumerate(plan.candidates, start=1)
        ],
        "baselines": {"fit": record(plan.fit), "one_gpu": record(plan.one_gpu)},
        "fit_seconds": plan.fit_seconds,
        "tradeoffs": [
            {"kind": one.kind, "change": list(one.args), "plan": record(one.rated)}
            for one in plan.tradeoffs
        ],
        "explained": None if explained is None else asdict(explained),
    }


def optimized_record(result: Optimized) -> dict[str, Any]:
    """A search as ``optimize --json`` prints it."""
    from placer.cli.contests import contest_record
    from placer.search.trial import trial_record

    found, contest = result.study.found, result.study.contest
    return {
        "name": result.target.name,
        "study": str(result.study.folder),
        "found": trial_record(found.trial),
        "boundary": [trial_record(trial) for trial in found.boundary],
        "limits": [limit.record() for limit in found.limits],
        "launches": len(found.trials),
        "contest": None if contest is None else contest_record(contest),
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
        "free_is_assumed": device.free_is_assumed,
        "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s,
        "link_generation": device.link_generation,
        "link_width": device.link_width,
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
