"""The verbs of the command: each parses, calls the library, and shows the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.benching import bench_command
from placer.cli.clients import clients_command
from placer.cli.composing import compose_command
from placer.cli.judging import judge_command
from placer.cli.options import (
    COMPANIONS,
    DESCRIBED,
    DEVICES,
    ENGINE,
    FILES,
    LEDGER,
    LOGS,
    OUTPUT,
    WORKLOAD,
    name_argument,
    options,
    with_request,
    with_where,
)
from placer.cli.planning import PLANNING, plan_options
from placer.cli.presets import presets_command
from placer.cli.profiling import (
    apply_command,
    diff_command,
    new_command,
    profiles_command,
    undo_command,
)
from placer.cli.searching import optimize_command
from placer.cli.serving import (
    dashboard_command,
    serve_command,
    status_command,
    stop_command,
)
from placer.cli.sweeping import sweep_command
from placer.cli.together import together_command
from placer.cli.tuning import tune_command
from placer.cli.verifying import verify_command

if TYPE_CHECKING:
    from placer.app import Request, Where

PLACEMENT = (
    click.option(
        "-ngl",
        "--n-gpu-layers",
        "--gpu-layers",
        help="Layers on GPUs, the output among them.",
    ),
    click.option("-ts", "--tensor-split", help="Shares of the devices: 33,15."),
    click.option(
        "-ot",
        "--override-tensor",
        multiple=True,
        help="Tensors that do not follow their layer.",
    ),
    click.option(
        "-sm",
        "--split-mode",
        type=click.Choice(["none", "layer", "row", "tensor"]),
        help="How to split; placer knows none and layer.",
    ),
    click.option("-mg", "--main-gpu", help="The only device, with -sm none."),
    click.option("-cmoe", "--cpu-moe", is_flag=True, help="All experts on the CPU."),
    click.option(
        "-ncmoe", "--n-cpu-moe", help="Experts of the first N layers on the CPU."
    ),
)
DOES_NOT_FIT = 4
VALUED = {
    "n_gpu_layers": "-ngl",
    "tensor_split": "-ts",
    "split_mode": "-sm",
    "main_gpu": "-mg",
    "n_cpu_moe": "-ncmoe",
}


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@options(OUTPUT)
def inspect_command(*, model: Path, as_json: bool, quiet: bool) -> None:
    """Show what a GGUF holds, from its header alone.

    \b
    Example:
      placer inspect models/GLM-4.7-Flash-Q8_0.gguf
    """
    from placer import app
    from placer.cli import show

    show.inspection(app.inspect(model), as_json=as_json, quiet=quiet)


@click.command("devices")
@options(DESCRIBED, ENGINE, OUTPUT)
@with_where
def devices_command(*, where: Where, as_json: bool, quiet: bool) -> None:
    """Show llama-server's devices and what they have free.

    \b
    Examples:
      placer devices
      placer devices --emulate 400,300
      placer devices --machine rtx-4090+rtx-5070-ti
    """
    from placer import app
    from placer.cli import show

    show.machine(app.devices(where), as_json=as_json, quiet=quiet)


@click.command("estimate")
@name_argument
@options(WORKLOAD, PLACEMENT, COMPANIONS, DESCRIBED, DEVICES, ENGINE, FILES, LEDGER)
@options(OUTPUT)
@with_where
@with_request
def estimate_command(
    *,
    name: str,
    where: Where,
    request: Request,
    as_json: bool,
    quiet: bool,
    **placement: Any,
) -> None:
    """Show what a placement would hold, before anything loads.

    The placement is that of the flags, else that of the profile. With --devices or
    --machine no engine and no GPU is needed. Exit code 4 says that it does not fit.

    \b
    Examples:
      placer estimate glm-q8 --ctx 131072 -ts 33,15
      placer estimate model.gguf --devices CUDA0:24564:23671,CUDA1:16303:12761
      placer estimate model.gguf --machine rtx-5090 -ctk q8_0 -ctv q8_0
    """
    from placer import app
    from placer.cli import estimates

    found = app.estimate(name, where, request, _placement_args(placement))
    estimates.estimate(found, as_json=as_json, quiet=quiet)
    if not found.rated.fits:
        raise click.exceptions.Exit(DOES_NOT_FIT)


@click.command("plan")
@name_argument
@options(PLANNING)
@options(WORKLOAD, COMPANIONS, DESCRIBED, DEVICES, ENGINE, FILES, LEDGER, OUTPUT)
@with_where
@with_request
def plan_command(
    *,
    name: str,
    where: Where,
    request: Request,
    as_json: bool,
    quiet: bool,
    plot: Path | None,
    **planning: Any,
) -> None:
    """Show the placements worth trying, the fastest first.

    Beside them stand what llama-server's own --fit would do and what one GPU can do
    alone, and what other settings would give. The first is the best by the speed
    model; with an engine its dry run confirms that it fits.

    \b
    Examples:
      placer plan glm-q8 --ctx 131072 -b 4096
      placer plan model.gguf --machine rtx-4090+rtx-5070-ti --explain
      placer plan gpt-oss-120b --for balanced --margin 256,512 --plot plan.svg
    """
    from placer import app
    from placer.cli import estimates, plots
    from placer.cli.steps import steps

    if plot is not None:
        plots.require_plot(plot)
    with steps(quiet=quiet or as_json) as on_step:
        asked = plan_options(
            planning, plot=plot, is_terse=quiet or as_json, on_step=on_step
        )
        found = app.plan(name, where, request, asked)
    if plot is not None:
        plots.draw(found, plot)
    estimates.plan(found, as_json=as_json, quiet=quiet)
    if not found.candidates[0].fits:
        raise click.exceptions.Exit(DOES_NOT_FIT)


@click.command("report")
@options(LOGS)
@click.option(
    "--docs",
    type=click.Path(path_type=Path),
    default=Path("docs"),
    show_default=True,
    help="Folder to write to.",
)
@options(OUTPUT)
@with_where
def report_command(*, where: Where, docs: Path, as_json: bool, quiet: bool) -> None:
    """Write docs/ from the recorded searches.

    \b
    Example:
      placer report
    """
    from placer import app
    from placer.cli import show

    show.reported(app.report(where, docs), as_json=as_json, quiet=quiet)


@click.command("ledger")
@options(LEDGER, OUTPUT)
@with_where
def ledger_command(*, where: Where, as_json: bool, quiet: bool) -> None:
    """Show what dry runs and launches taught about the formula.

    \b
    Example:
      placer ledger
    """
    from placer import app
    from placer.cli import ledgers

    ledgers.ledger(app.ledger(where), as_json=as_json, quiet=quiet)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(*, shell: str) -> None:
    """Print the completion of a shell: verbs, options, profiles.

    \b
    Example:
      placer completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from placer.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError(shell)
    click.echo(kind(cli, {}, "placer", "_PLACER_COMPLETE").source())


def _placement_args(values: dict[str, Any]) -> tuple[str, ...]:
    args: list[str] = []
    for name, flag in VALUED.items():
        value = values[name]
        if value is not None:
            args += [flag, value]
    for overrides in values["override_tensor"]:
        args += ["-ot", overrides]
    if values["cpu_moe"]:
        args.append("-cmoe")
    return tuple(args)


ALL = (
    profiles_command,
    new_command,
    optimize_command,
    tune_command,
    sweep_command,
    verify_command,
    bench_command,
    serve_command,
    status_command,
    stop_command,
    dashboard_command,
    clients_command,
    together_command,
    presets_command,
    compose_command,
    plan_command,
    estimate_command,
    devices_command,
    inspect_command,
    diff_command,
    apply_command,
    undo_command,
    report_command,
    ledger_command,
    judge_command,
    completion_command,
)
