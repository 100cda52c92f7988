"""Answers as a person reads them, or as JSON, or in one line."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

import click
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from placer.cli import jsons
from placer.cli.bars import mib_text
from placer.cli.out import console
from placer.engine.verdict import verdict_text
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from placer.app import Applied, Inspection, Optimized
    from placer.machine import Device, Machine
    from placer.model import LayerShape
    from placer.search.limits import Limit
    from placer.search.trial import Trial
    from placer.speed import Speed


def inspection(found: Inspection, *, as_json: bool, quiet: bool) -> None:
    """A model file."""
    if as_json:
        jsons.emit(jsons.inspection_record(found))
        return
    shape, file = found.shape, found.file
    line = f"{shape.architecture}, {shape.n_layer_all} layers, "
    line += f"{size_text(shape.weight_bytes)} of weights"
    if quiet:
        click.echo(line)
        return
    out = console()
    out.print(Text(shape.name, "bold"), Text(line))
    table = _plain_table("", "")
    experts = f"{shape.n_expert}, {shape.n_expert_used} used by a token"
    table.add_row("files", str(len(file.shards)))
    table.add_row("trained context", f"{shape.context_length:,} tokens")
    table.add_row("vocabulary", f"{shape.n_vocab:,} tokens")
    table.add_row("experts", experts if shape.is_moe else "none: a dense model")
    table.add_row("context", shape.cache_unknown or _cache_text(found))
    table.add_row("stays on the CPU", _names(t.name for t in shape.input_tensors))
    out.print(table)
    out.print(_layer_kinds(found))


def machine(found: Machine, *, as_json: bool, quiet: bool) -> None:
    """The devices."""
    if as_json:
        jsons.emit(jsons.machine_record(found))
        return
    if quiet:
        for device in found.devices:
            click.echo(f"{device.name} {device.total_bytes} {device.free_bytes}")
        return
    out = console()
    if found.name is not None:
        out.print(Text(found.name, "bold"))
    out.print(_devices_table(found))
    for device in found.devices:
        for line in _nvml_lines(device):
            out.print(line)
    out.print(_host_text(found))
    for source in found.sources:
        out.print(Text(f"- {source}", "dim"), soft_wrap=not out.is_terminal)


def _nvml_lines(device: Device) -> Iterator[str]:
    """The card's link and who uses it, where NVML knows it."""
    facts = device.nvml
    if facts is None:
        return
    link = f"PCIe {facts.link_generation or '-'} x{facts.link_width or '-'}"
    yield f"{device.name}: PCI {facts.pci_bus_id}, driver {facts.driver}, {link}"
    for process in facts.processes:
        used = "-" if process.used_bytes is None else size_text(process.used_bytes)
        yield f"  {used:>10}  {process.name} ({process.pid})"


def _devices_table(found: Machine) -> Table:
    """A row a device; how fast it is where that is known."""
    speeds = [device.bandwidth_bytes_per_s for device in found.devices]
    columns = ["device", "name", "total MiB", "free MiB"]
    columns += ["GB/s", "PCIe"] if any(speeds) else []
    table = _plain_table(*columns, right=len(columns) - 2)
    for device, speed in zip(found.devices, speeds, strict=True):
        free = mib_text(device.free_bytes)
        row = [device.name, device.description, mib_text(device.total_bytes)]
        row.append(f"~{free}" if device.free_is_assumed else free)
        if any(speeds):
            row += ["-" if speed is None else f"{speed / 1e9:,.0f}", _link_text(device)]
        table.add_row(*row)
    return table


def _link_text(device: Device) -> str:
    if device.link_generation is None or device.link_width is None:
        return "-"
    return f"{device.link_generation}.0 x{device.link_width}"


def _host_text(found: Machine) -> str:
    """The host's memory and the engine; that of described devices may be unknown."""
    shared = ", shared with the device" if found.is_unified else ""
    if found.host_free_bytes is None or found.host_total_bytes is None:
        return "host: not known; no engine was asked"
    text = f"host: {size_text(found.host_free_bytes)} free of "
    text += f"{size_text(found.host_total_bytes)}{shared}; "
    if found.engine_build is None:
        return f"{text}no engine was asked"
    return f"{text}engine {found.engine_build}"


def optimized(result: Optimized, *, as_json: bool, quiet: bool) -> None:
    """A search that has found its answer."""
    found = result.study.found
    if as_json:
        jsons.emit(jsons.optimized_record(result))
        return
    args = _placement_of(found.trial)
    if quiet:
        click.echo(shlex.join(args))
        return
    out = console()
    strategy = found.trial.probe.strategy
    out.print()
    out.print(Text(f"{strategy.value}: {strategy.title}", "bold green"))
    out.print(Text(shlex.join(args), "bold"), soft_wrap=True)
    out.print(_proof_text(found.trial, len(found.trials)))
    out.print(_rungs_table(found.trial, result.machine))
    if found.trial.probe.speed is not None:
        out.print(_speed_table(found.trial, found.trial.probe.speed))
        _print_assumed(out, result.machine)
    _print_limits(out, found.limits)
    for trial in found.boundary:
        text = Text(_boundary_text(trial), "dim")
        out.print(text, soft_wrap=not out.is_terminal)
    if result.study.contest is not None:
        from placer.cli.contests import show_contest

        out.print()
        show_contest(result.study.contest, quiet=False)
    if result.applied is not None:
        applied(result.applied, as_json=False, quiet=False)
    out.print(Text(f"Record: {result.study.folder}", "dim"))


def applied(change: Applied, *, as_json: bool, quiet: bool) -> None:
    """What was, or would be, written to models.conf."""
    if as_json:
        jsons.emit(jsons.applied_record(change))
        return
    path = change.before.path
    if not change.diff:
        click.echo(f"{path} says so already.")
        return
    if not quiet:
        out = console()
        if out.is_terminal:
            out.print(Syntax(change.diff, "diff", background_color="default"))
        else:
            click.echo(change.diff, nl=False)
    click.echo(f"{'Wrote' if change.written else 'Would write'} {path}")


def undone(path: Path, *, as_json: bool, quiet: bool) -> None:
    """The last write was taken back."""
    if as_json:
        jsons.emit({"undone": str(path)})
    elif not quiet:
        click.echo(f"{path} is as it was before placer's last write.")


def reported(paths: tuple[Path, ...], *, as_json: bool, quiet: bool) -> None:
    """Documents were written."""
    if as_json:
        jsons.emit({"written": [str(path) for path in paths]})
    elif not quiet:
        for path in paths:
            click.echo(f"Wrote {path}")


def _rungs_table(trial: Trial, on: Machine) -> Table:
    """Formula, dry run and observation, side by side and never mixed."""
    table = _plain_table(
        "MiB", "formula", "dry run", "observed", "free before", "left", right=5
    )
    peak = trial.observation.peak_bytes
    for index, device in enumerate(on.devices):
        said = trial.probe.dry_run
        seen = None if peak is None else peak[index]
        table.add_row(
            device.name,
            mib_text(trial.probe.formula.devices[index].total_bytes),
            mib_text(None if said is None else said.devices[index].total_bytes),
            mib_text(seen),
            mib_text(device.free_bytes),
            mib_text(None if seen is None else device.free_bytes - seen),
        )
    return table


def _speed_table(trial: Trial, said: Speed) -> Table:
    """What the speed model said of one user, and what was measured."""
    table = _plain_table("tokens/s", "predicted", "from", "to", "measured", right=4)
    rows = (
        ("one user decodes", said.decode, trial.decode_tokens_per_s),
        ("reads one ubatch", said.prefill, trial.prefill_tokens_per_s),
    )
    for name, figures, seen in rows:
        table.add_row(
            name,
            *(f"{x:,.1f}" for x in (figures.mid, figures.low, figures.high)),
            "-" if seen is None else f"{seen:,.1f}",
        )
    return table


def _print_assumed(out: Console, on: Machine) -> None:
    """What the prediction took for what nobody said; of emulated devices, all."""
    from placer.speed import FIELD_NOTES, rates_of

    assumed = rates_of(on, FIELD_NOTES).assumed
    if assumed:
        text = Text(f"Predicted with an assumed {', '.join(assumed)}.", "dim")
        out.print(text, soft_wrap=not out.is_terminal)


def _print_limits(out: Console, limits: Sequence[Limit]) -> None:
    """Why each device takes no more, a line each."""
    from placer.report.limits import limit_sentence

    for limit in limits:
        text = Text(limit_sentence(limit.record()), "dim")
        out.print(text, soft_wrap=not out.is_terminal)


def _proof_text(trial: Trial, launches: int) -> str:
    from placer.engine.observation import Stage

    seen = trial.observation
    times = "1 launch" if launches == 1 else f"{launches} launches"
    if not seen.prompt_tokens:
        return f"Loaded, with {times}; its context was not filled: --proof full does."
    tokens = f"{seen.prompt_tokens:,} tokens"
    text = f"Proved with {times}: {tokens} of context filled"
    if seen.stage is Stage.PROMPTED:
        text = f"Prompted, with {times}: {tokens} read, the context not filled"
    if seen.prompt_tokens_per_s is not None:
        text += f" at {seen.prompt_tokens_per_s:,.1f} tokens/s"
    if seen.single is not None:
        text += f", one user decodes {seen.single.decoded_tokens_per_s:,.1f} tokens/s"
    return f"{text}."


def _boundary_text(trial: Trial) -> str:
    args = shlex.join(_placement_of(trial))
    return f"does not fit: {args}: {verdict_text(trial.verdict)}"


def _placement_of(trial: Trial) -> tuple[str, ...]:
    args = trial.probe.args
    return args[args.index("-ngl") :]


def _cache_text(found: Inspection) -> str:
    shape = found.shape
    swa = sum(layer.is_swa for layer in shape.layers)
    recurrent = sum(layer.recurrent_elements > 0 for layer in shape.layers)
    parts = ["latent (MLA)" if shape.is_mla else "keys and values"]
    if swa:
        parts.append(f"{swa} layers with a window of {shape.n_swa:,}")
    if recurrent:
        parts.append(f"{recurrent} layers with a recurrent state")
    return ", ".join(parts)


def _layer_kinds(found: Inspection) -> Table:
    """A row a kind of layer, with the layers that are of it."""
    table = _plain_table("layers", "dense MiB", "experts MiB", "cache")
    table.columns[1].justify = table.columns[2].justify = "right"
    kinds: dict[tuple[object, ...], list[LayerShape]] = {}
    for layer in found.shape.layers:
        kinds.setdefault(layer.kind, []).append(layer)
    for layers in kinds.values():
        table.add_row(
            _span([layer.index for layer in layers]),
            mib_text(layers[0].dense_bytes),
            mib_text(layers[0].expert_bytes or None),
            _cache_kind(layers[0]),
        )
    return table


def _cache_kind(layer: LayerShape) -> str:
    if layer.recurrent_elements:
        return "recurrent"
    if not layer.has_kv:
        return "none"
    return "window" if layer.is_swa else "full"


def _span(indexes: list[int]) -> str:
    """``"0-46"``, ``"1, 3 ... 35"``, or how many where they follow no step."""
    first, last = indexes[0], indexes[-1]
    if first == last:
        return str(first)
    steps = {b - a for a, b in pairwise(indexes)}
    if steps == {1}:
        return f"{first}-{last}"
    if len(steps) == 1:
        return f"{first}, {indexes[1]} ... {last}"
    return f"{len(indexes)} of {first}-{last}"


def _names(names: object) -> str:
    return ", ".join(names) if names else "nothing"  # type: ignore[arg-type]


def _plain_table(*columns: str, right: int = 0) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=any(columns))
    for index, name in enumerate(columns):
        is_right = index >= len(columns) - right
        table.add_column(name, justify="right" if is_right else "left")
    return table
