"""Options that several verbs share, and what they amount to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from placer.app import Request, Where

# llama-server takes fewer than 16 shares in -ts (arg.cpp:2795).
MOST_DEVICES = 15
MOST_MIB = 1 << 24
F = TypeVar("F", bound=Callable[..., Any])


class MibList(click.ParamType[tuple[int, ...]]):
    """``400,300``: MiB, one a device."""

    name = "MiB,MiB"

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of MiB such as 400,300", param, ctx)
        if len(numbers) > MOST_DEVICES or not all(
            self._least <= number <= MOST_MIB for number in numbers
        ):
            text = f"give 1 to {MOST_DEVICES} figures from {self._least} to {MOST_MIB}"
            self.fail(text, param, ctx)
        return numbers


def complete_profile(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    """Profiles of models.conf for the shell; nothing where it cannot be read."""
    from placer.app.target import Folders
    from placer.errors import PlacerError
    from placer.profiles import read_conf

    del ctx, param
    try:
        conf = read_conf(Folders().conf_path)
    except PlacerError:
        return []
    return [p.id for p in conf.profiles if p.id.startswith(incomplete)]


def complete_machine(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    """Machines that come with placer, for the shell."""
    from placer.machine.files import machine_names

    del ctx, param
    return [name for name in machine_names() if name.startswith(incomplete)]


name_argument = click.argument(
    "name", metavar="PROFILE|MODEL.gguf", shell_complete=complete_profile
)

FILES = (
    click.option(
        "--conf",
        type=click.Path(path_type=Path),
        help="Profile file.  [$PLACER_CONF, models.conf]",
    ),
    click.option(
        "--models-dir",
        type=click.Path(path_type=Path),
        help="Models folder.  [$PLACER_MODELS_DIR, models]",
    ),
)
DEVICES = (
    click.option(
        "-dev",
        "--device",
        "devices",
        metavar="NAME,NAME",
        help="Devices to use, in this order: CUDA0,CUDA1.",
    ),
)
LOGS = (
    click.option(
        "--logs",
        type=click.Path(path_type=Path),
        default=Path("search_logs"),
        show_default=True,
        help="Where searches are recorded.",
    ),
)
LEDGER = (
    click.option(
        "--ledger",
        type=click.Path(path_type=Path),
        help="What was learned so far.  [$PLACER_LEDGER, the user's data folder]",
    ),
)
DESCRIBED = (
    click.option(
        "--devices",
        "described",
        metavar="NAME:MiB:MiB,...",
        help="Devices that need not be here, total and free MiB: "
        "CUDA0:24564:23671,CUDA1:16303:12761. No engine is asked.",
    ),
    click.option(
        "--machine",
        metavar="NAME|FILE.toml",
        shell_complete=complete_machine,
        help="The same by name or file: rtx-4090+rtx-5070-ti, dgx-spark.",
    ),
)
COMPANIONS = (
    click.option(
        "-mm", "--mmproj", metavar="FILE", help="Image projector loaded beside it."
    ),
    click.option(
        "--mmproj-offload/--no-mmproj-offload",
        default=None,
        help="The projector on a GPU, or on the CPU.",
    ),
    click.option(
        "-md", "--model-draft", metavar="FILE", help="Draft model loaded beside it."
    ),
    click.option(
        "-ngld", "--n-gpu-layers-draft", metavar="N", help="Its layers on GPUs."
    ),
    click.option(
        "-ctkd", "--cache-type-k-draft", metavar="TYPE", help="Its keys' type."
    ),
    click.option(
        "-ctvd", "--cache-type-v-draft", metavar="TYPE", help="Its values' type."
    ),
    click.option("--spec-type", metavar="TYPE", help="Kind of drafting: draft-mtp."),
    click.option(
        "--spec-draft-n-max",
        "--draft-max",
        type=click.IntRange(min=0),
        help="Tokens drafted at once.",
    ),
)
ENGINE = (
    click.option(
        "--server",
        type=click.Path(path_type=Path),
        help="llama-server to use.  [$PLACER_LLAMA_SERVER, PATH]",
    ),
    click.option(
        "--docker",
        metavar="IMAGE",
        help="Run it in containers of this image; --server is then a program inside "
        "it.  [$PLACER_DOCKER_IMAGE]",
    ),
    click.option(
        "--docker-memory",
        type=click.IntRange(min=6),
        metavar="MiB",
        help="Host memory that such a container may take.  [all]",
    ),
    click.option(
        "--emulate",
        type=MibList(),
        help="Emulated GPUs of these MiB instead of the real ones: 400,300.",
    ),
    click.option("--rpc", metavar="HOST:PORT,...", help="RPC devices to add."),
)
WORKLOAD = (
    click.option(
        "-c",
        "--ctx",
        "--ctx-size",
        type=click.IntRange(min=0),
        help="Tokens of context, all slots together.",
    ),
    click.option(
        "-b", "--batch-size", type=click.IntRange(min=1), help="Logical batch."
    ),
    click.option(
        "-ub",
        "--ubatch-size",
        type=click.IntRange(min=1),
        help="Physical batch; drives the compute buffers.",
    ),
    click.option("-np", "--parallel", type=click.IntRange(min=1), help="Slots."),
    click.option(
        "--kv-unified/--no-kv-unified",
        "-kvu/-no-kvu",
        default=None,
        help="One cache for all slots.",
    ),
    click.option("-ctk", "--cache-type-k", help="Type of the keys in the cache."),
    click.option("-ctv", "--cache-type-v", help="Type of the values in the cache."),
    click.option(
        "-fa",
        "--flash-attn",
        type=click.Choice(["on", "off", "auto"]),
        help="Flash attention.",
    ),
    click.option(
        "--swa-full",
        is_flag=True,
        default=None,
        help="Cache sliding windows at full length.",
    ),
    click.option(
        "--no-kv-offload",
        "-nkvo",
        is_flag=True,
        default=None,
        help="Keep the cache on the CPU.",
    ),
    click.option(
        "--no-op-offload",
        is_flag=True,
        default=None,
        help="Compute on host weights on the CPU.",
    ),
    click.option(
        "--arg",
        "extra_args",
        multiple=True,
        metavar="TOKEN",
        help="Further token for llama-server; repeat for more.",
    ),
)
PATIENCE = (
    click.option(
        "--patience",
        type=click.FloatRange(min=1),
        default=600,
        show_default=True,
        help="Seconds without any movement after which a launch is stalled.",
    ),
)
PROOF = (
    click.option(
        "--proof",
        type=click.Choice(["load", "prompt", "full"]),
        default="full",
        show_default=True,
        help="How far a launch is taken: loaded, a prompt read in every slot, or the "
        "whole context filled.",
    ),
    *PATIENCE,
)
GOAL = (
    click.option(
        "--for",
        "goal",
        type=click.Choice(["decode", "prefill", "balanced"]),
        default="decode",
        show_default=True,
        help="What to be best at: writing, reading prompts, or both.",
    ),
)
MARGIN = (
    click.option(
        "--margin",
        type=MibList(least=0),
        default="0",
        show_default=True,
        help="MiB to leave free, one figure for all devices or one each: 256,512.",
    ),
)
OUTPUT = (
    click.option(
        "--json", "as_json", is_flag=True, help="Print JSON and nothing else."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print the answer only."),
)


def options(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """All options of the groups, in order."""

    def decorate(function: F) -> F:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def where_of(values: dict[str, Any]) -> Where:
    """Where everything is, taken out of a verb's options."""
    from placer.app import Where

    return Where(
        server=values.pop("server", None),
        docker=values.pop("docker", None),
        docker_memory=values.pop("docker_memory", None),
        emulate=values.pop("emulate", None),
        rpc=values.pop("rpc", None),
        conf=values.pop("conf", None),
        models=values.pop("models_dir", None),
        logs=values.pop("logs", Path("search_logs")),
        devices=values.pop("described", None),
        machine=values.pop("machine", None),
        ledger=values.pop("ledger", None),
    )


def request_of(values: dict[str, Any]) -> Request:
    """What is asked of the model, taken out of a verb's options."""
    from placer.app import Request

    def opposite(name: str) -> bool | None:
        return False if values.pop(name) else None

    return Request(
        values={
            "ctx": values.pop("ctx"),
            "batch": values.pop("batch_size"),
            "ubatch": values.pop("ubatch_size"),
            "parallel": values.pop("parallel"),
            "kv_unified": values.pop("kv_unified"),
            "type_k": values.pop("cache_type_k"),
            "type_v": values.pop("cache_type_v"),
            "flash_attn": values.pop("flash_attn"),
            "swa_full": values.pop("swa_full") or None,
            "kv_offload": opposite("no_kv_offload"),
            "op_offload": opposite("no_op_offload"),
        },
        extra_args=tuple(values.pop("extra_args")),
        devices=_names(values.pop("devices")),
        companions=_companions(values),
    )


COMPANION_FLAGS = {
    "mmproj": "--mmproj",
    "model_draft": "-md",
    "n_gpu_layers_draft": "-ngld",
    "cache_type_k_draft": "-ctkd",
    "cache_type_v_draft": "-ctvd",
    "spec_type": "--spec-type",
    "spec_draft_n_max": "--spec-draft-n-max",
}


def _companions(values: dict[str, Any]) -> tuple[str, ...]:
    """The flags of what is loaded beside the model; none where a verb has none."""
    tokens: list[str] = []
    for name, flag in COMPANION_FLAGS.items():
        value = values.pop(name, None)
        if value is not None:
            tokens += [flag, str(value)]
    offload = values.pop("mmproj_offload", None)
    if offload is not None:
        tokens.append("--mmproj-offload" if offload else "--no-mmproj-offload")
    return tuple(tokens)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


def with_where(function: Callable[..., Any]) -> Callable[..., Any]:
    """The verb's options about places, as one ``where``."""

    @functools.wraps(function)
    def wrapped(**values: Any) -> Any:
        return function(where=where_of(values), **values)

    return wrapped


def with_request(function: Callable[..., Any]) -> Callable[..., Any]:
    """The verb's options about the workload, as one ``request``."""

    @functools.wraps(function)
    def wrapped(**values: Any) -> Any:
        return function(request=request_of(values), **values)

    return wrapped
