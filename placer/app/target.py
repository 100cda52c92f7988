"""What a verb works on: a profile of models.conf, or a model file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import InputError
from placer.gguf import GGUFFile, read_gguf
from placer.model import ModelShape, model_shape
from placer.placement import Workload, require_whole_layers, whole_number
from placer.placement.arguments import (
    Argument,
    flag_values,
    parse_arguments,
    read_tokens,
)
from placer.placement.drafting import NEXTN, drafted_tokens, kept_states, spec_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.profiles import Conf, Profile

CONF_VARIABLE = "PLACER_CONF"
MODELS_VARIABLE = "PLACER_MODELS_DIR"
CONF_DEFAULT = Path("models.conf")
MODELS_DEFAULT = Path("models")

# Flags that a Workload says, and flags that a Placement says.
WORKLOAD_FLAGS = frozenset(
    "-c -b -ub -np -kvu -ctk -ctv -fa --swa-full -kvo --op-offload".split()
)
PLACEMENT_FLAGS = frozenset(
    "-ngl -ts -ot -sm -mg -dev -cmoe -ncmoe -fit -fitt -fitc".split()
)
# Flags that would hide the server or its log from placer, with their values.
HIDING_FLAGS = {
    "--api-key": 1,
    "--api-key-file": 1,
    "--api-prefix": 1,
    "--ssl-key-file": 1,
    "--ssl-cert-file": 1,
    "--log-file": 1,
    "--log-disable": 0,
}
ON = {"on": True, "off": False}
FLASH_ATTN_WORDS = {
    **dict.fromkeys(("on", "enabled", "true", "1"), "on"),
    **dict.fromkeys(("off", "disabled", "false", "0"), "off"),
    **dict.fromkeys(("auto", "-1"), "auto"),
}
# -np of a server that is not told: server.cpp:151.
SLOTS_AUTO = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model, what is asked of it, and the profile it came from.

    Attributes:
        name: the profile's id, or the model's file name.
        file: the header of the model.
        shape: what the engine makes of it.
        workload: what is asked.
        placement_args: the placement that the profile has today.
        extra_args: flags of the profile that placer passes through.
        devices: names of the devices to use, None for all that there are.
        rpc: endpoints of RPC devices, None for none.
        profile: None for a bare model file.
        conf: the file that holds the profile.
    """

    name: str
    file: GGUFFile
    shape: ModelShape
    workload: Workload
    placement_args: tuple[str, ...] = ()
    extra_args: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    rpc: str | None = None
    profile: Profile | None = None
    conf: Conf | None = None

    @property
    def threads(self) -> int | None:
        """CPU threads that compute, where the flags say how many."""
        text = flag_values(parse_arguments(" ".join(self.extra_args))).get("-t")
        n = -1 if text is None else whole_number("-t", text)
        return n if n > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where profiles and models are looked for; None is the environment's default."""

    conf: Path | None = None
    models: Path | None = None

    @property
    def conf_path(self) -> Path:
        """The profile file."""
        return self.conf or Path(os.environ.get(CONF_VARIABLE) or CONF_DEFAULT)

    @property
    def models_path(self) -> Path:
        """The models folder."""
        return self.models or Path(os.environ.get(MODELS_VARIABLE) or MODELS_DEFAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Changes to the workload from the command line; None leaves the profile's.

    ``companions`` are flags of models that are loaded beside the model.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    companions: tuple[str, ...] = ()


def resolve(name: str, folders: Folders, asked: Asked) -> Target:
    """The profile or the model file of that name.

    Raises:
        InputError: neither is there, or either is damaged.
    """
    if name.endswith(".gguf") or os.sep in name:
        return _bare_model(model_path(name, folders), asked)
    from placer.profiles import read_arguments, read_conf

    conf = read_conf(folders.conf_path)
    profile = conf.profile(name)
    if profile.model is None:
        raise InputError(
            f"[{name}] has no MODEL",
            path=profile.path,
            line=profile.line,
            hint="add MODEL=, a file under the models folder",
        )
    if asked.extra_args:
        raise InputError(
            f"--arg {asked.extra_args[0]} would not be in the profile",
            hint=f"write it to EXTRA_ARGS of [{name}] instead",
        )
    file = read_gguf(model_path(profile.model, folders))
    arguments = read_arguments(profile)
    flags = flag_values([*arguments, *read_tokens(asked.companions)])
    shape = _shape(file, flags)
    return Target(
        name=name,
        file=file,
        shape=shape,
        workload=workload_of(flags, shape, asked),
        placement_args=_tokens(arguments, PLACEMENT_FLAGS),
        extra_args=_passed_through(arguments) + asked.companions,
        devices=asked.devices or _devices(flags),
        rpc=flags.get("--rpc"),
        profile=profile,
        conf=conf,
    )


def _bare_model(path: Path, asked: Asked) -> Target:
    file = read_gguf(path)
    arguments = parse_arguments(" ".join(asked.extra_args))
    for argument in arguments:
        if argument.name in WORKLOAD_FLAGS | PLACEMENT_FLAGS:
            raise InputError(
                f"--arg {argument.name} is placer's own",
                hint="give it as an option; placer --help lists them",
            )
    flags = flag_values([*arguments, *read_tokens(asked.companions)])
    shape = _shape(file, flags)
    return Target(
        name=shape.name,
        file=file,
        shape=shape,
        workload=workload_of(flags, shape, asked),
        extra_args=_passed_through(arguments) + asked.companions,
        devices=asked.devices,
        rpc=flags.get("--rpc"),
    )


def _shape(file: GGUFFile, flags: Mapping[str, str]) -> ModelShape:
    """What the engine loads of the file, NextN layers where they are to draft.

    Raises:
        InputError: they are to draft, and there are none.
    """
    by_nextn = NEXTN in spec_types(flags)
    shape = model_shape(file, nextn=by_nextn)
    if by_nextn and not shape.n_layer_nextn and "-md" not in flags:
        raise InputError(
            f"--spec-type {NEXTN}: the file has no NextN layers to draft with",
            path=file.path,
            hint="leave it out, or give a file that has them with -md",
        )
    return shape


def workload_of(flags: Mapping[str, str], shape: ModelShape, asked: Asked) -> Workload:
    """The workload of flags by their names, changed as asked.

    What neither says is the engine's default: ``-np`` auto is four slots with one
    cache for all (server.cpp:151), ``-c 0`` the context that the model was trained
    for.
    """
    values: dict[str, Any] = {
        "ctx": _whole(flags, "-c"),
        "batch": _whole(flags, "-b"),
        "ubatch": _whole(flags, "-ub"),
        "parallel": _whole(flags, "-np"),
        "kv_unified": ON.get(flags.get("-kvu", "")),
        "type_k": flags.get("-ctk"),
        "type_v": flags.get("-ctv"),
        "flash_attn": _flash_attn(flags),
        "swa_full": ON.get(flags.get("--swa-full", "")),
        "kv_offload": ON.get(flags.get("-kvo", "")),
        "op_offload": ON.get(flags.get("--op-offload", "")),
        "drafted": drafted_tokens(flags),
        "kept_states": kept_states(flags) if shape.takes_states_back else 0,
    }
    require_whole_layers(flags)
    for name in asked.values.keys() - values.keys():
        raise InputError(
            f"a workload has no {name!r}", hint=f"it has {', '.join(values)}"
        )
    values |= {key: value for key, value in asked.values.items() if value is not None}
    if (values["parallel"] or -1) < 0:
        values["parallel"] = SLOTS_AUTO
        values["kv_unified"] = values["kv_unified"] is not False
    elif values["kv_unified"] is None:
        values["kv_unified"] = False
    if not values["ctx"]:
        values["ctx"] = shape.context_length or 4096
    return Workload(
        **{key: value for key, value in values.items() if value is not None}
    )


def _flash_attn(flags: Mapping[str, str]) -> str | None:
    """The setting in one spelling: arg.cpp:1744 takes several."""
    text = flags.get("-fa")
    return None if text is None else FLASH_ATTN_WORDS.get(text, text)


def _devices(flags: Mapping[str, str]) -> tuple[str, ...] | None:
    """The devices that a profile names with ``-dev``."""
    text = flags.get("-dev")
    return None if text is None else tuple(text.split(","))


def _whole(flags: Mapping[str, str], name: str) -> int | None:
    text = flags.get(name)
    return None if text is None else whole_number(name, text)


def _tokens(arguments: Sequence[Argument], names: frozenset[str]) -> tuple[str, ...]:
    """The tokens of the arguments with these names."""
    return tuple(
        token for a in arguments if a.name in names for token in a.text.split()
    )


def _passed_through(arguments: Sequence[Argument]) -> tuple[str, ...]:
    """What is neither workload nor placement, and hides nothing from placer."""
    owned = WORKLOAD_FLAGS | PLACEMENT_FLAGS | {"--rpc"}
    tokens = [t for a in arguments if a.name not in owned for t in a.text.split()]
    kept: list[str] = []
    skip = 0
    for token in tokens:
        if skip:
            skip -= 1
        elif token in HIDING_FLAGS:
            skip = HIDING_FLAGS[token]
        else:
            kept.append(token)
    return tuple(kept)


def model_path(name: str, folders: Folders) -> Path:
    """The file itself, or under the models folder.

    Raises:
        InputError: it is in neither place, or is no file.
    """
    here, there = Path(name), folders.models_path / name
    for path in (there, here):
        if path.is_file():
            return path
    if here.exists() or there.exists():
        found = there if there.exists() else here
        what = "a folder" if found.is_dir() else "no regular file"
        raise InputError(f"is {what}", path=found, hint="give the .gguf file")
    looked = there if there == here or here.is_absolute() else f"{there} and {here}"
    raise InputError(
        f"model {name} was not found; looked for {looked}",
        hint=f"give its folder with --models-dir or {MODELS_VARIABLE}",
    )
