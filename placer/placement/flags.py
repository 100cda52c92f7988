"""Placement <-> ``-ngl``, ``-ts``, ``-ot``, ``-sm``, ``-mg``.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement.arguments import Argument, flag_values, parse_arguments
from placer.placement.overrides import (
    Override,
    buffer_of_tensors,
    minimal_overrides,
    parse_overrides,
)
from placer.placement.placement import (
    Placement,
    TensorException,
    devices_of_shares,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.machine import Machine
    from placer.model import ModelShape

# The engine's own pattern, common.h:1224.
CPU_MOE = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"

# Of the engine, llama.cpp line 89.
MOST_OVERRIDES = 4096
MOST_SHARE = 1e9
# Matches no tensor; the engine pipelines only where there is no -ot at all.
UNPIPELINED = Override(pattern="no-pipeline", buffer="CPU")


def placement_args(
    placement: Placement, shape: ModelShape, machine: Machine | None = None
) -> list[str]:
    """The shortest flags that say the placement; ``-ot`` stands last.

    ``-ts`` is always written, in whole layers, so that what free memory happens to be
    at load changes nothing.
    """
    args = ["-ngl", str(placement.n_gpu_layers)]
    if placement.main_gpu is None:
        args += ["-ts", ",".join(map(str, placement.split))]
    else:
        args += ["-sm", "none", "-mg", str(placement.main_gpu)]
        args += ["-ts", str(placement.n_gpu_layers)]
    if machine is not None:
        args += machine.device_args
    overrides = minimal_overrides(placement.exceptions, shape.tensor_names)
    if placement.unpipelined and not overrides:
        overrides = (UNPIPELINED,)
    if overrides:
        args += ["-ot", ",".join(map(str, overrides))]
    return args


def placement_from_args(
    args: Sequence[str], shape: ModelShape, machine: Machine
) -> Placement:
    """The placement that llama-server would make of the flags.

    Args:
        args: any of ``-ngl -ts -ot -sm -mg -cmoe -ncmoe`` in any of the engine's
            spellings, with their values; others are passed over.
        shape: the model.
        machine: the devices, for the default split (free memory) and the buffers.

    Raises:
        InputError: a value that the engine would refuse.
    """
    arguments = parse_arguments(" ".join(args))
    flags = flag_values(arguments)
    act = _layers_on_gpu(flags.get("-ngl", "auto"), shape.n_slots)
    main_gpu = None
    require_whole_layers(flags)
    named = whole_number("-mg", flags.get("-mg", "0"))
    if flags.get("-sm") == "none":
        main_gpu = named
        if not 0 <= main_gpu < len(machine.devices):
            raise InputError(
                f"-mg {main_gpu} is no device",
                hint=f"there are {len(machine.devices)}, counted from 0",
            )
        split = tuple(act if i == main_gpu else 0 for i in range(len(machine.devices)))
    else:
        split = _whole_slots(_shares(flags.get("-ts", ""), machine), act)
    bare = Placement(split=split, main_gpu=main_gpu)
    overrides = _overrides(arguments)
    exceptions = _exceptions(bare, overrides, shape, machine)
    return Placement(
        split=split,
        exceptions=exceptions,
        main_gpu=main_gpu,
        unpipelined=bool(overrides) and not exceptions,
    )


def require_whole_layers(flags: Mapping[str, str]) -> None:
    """Check that a split is by whole layers, which is all that placer knows.

    Raises:
        InputError: ``-sm row`` or ``-sm tensor``, or no mode at all.
    """
    mode = flags.get("-sm", "layer")
    if mode not in ("none", "layer"):
        raise InputError(
            f"-sm {mode} is not understood: placer places whole layers",
            hint="use -sm layer or -sm none, or ask llama-server itself",
        )


def whole_number(flag: str, text: str) -> int:
    """The number that a flag was given.

    Raises:
        InputError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{flag} {text!r} is no whole number", hint="give a number"
        ) from None


def _layers_on_gpu(text: str, n_slots: int) -> int:
    """``-ngl``: ``auto`` and ``all`` are everything (llama-model.cpp:2010)."""
    n = -1 if text in ("auto", "all") else whole_number("-ngl", text)
    return n_slots if n < 0 else min(n, n_slots)


def _shares(text: str, machine: Machine) -> tuple[float, ...]:
    """The shares of ``-ts``, or free memory where it is not given."""
    n_devices = len(machine.devices)
    free = tuple(float(device.free_bytes) for device in machine.devices)
    if not text:
        return free
    try:
        shares = tuple(float(part) for part in text.replace("/", ",").split(","))
    except ValueError:
        raise InputError(
            f"-ts {text!r} is no list of numbers", hint="write -ts 33,15"
        ) from None
    if not all(0 <= share <= MOST_SHARE for share in shares):
        raise InputError(
            f"-ts {text!r} holds a share that is none", hint="write -ts 33,15"
        )
    if any(shares[n_devices:]):
        raise InputError(
            f"-ts {text} names {len(shares)} devices, there are {n_devices}",
            hint="give one number a device",
        )
    padded = (*shares, *(0.0,) * n_devices)[:n_devices]
    return padded if any(padded) else free


def _overrides(arguments: Sequence[Argument]) -> tuple[Override, ...]:
    """``-ot``, ``-cmoe`` and ``-ncmoe`` in order: they share one list.

    Source: common.h:1224, arg.cpp:2763.
    """
    found: list[Override] = []
    for argument in arguments:
        value = argument.value or ""
        if argument.name == "-ot":
            found += parse_overrides(value)
        elif argument.name == "-cmoe":
            found.append(Override(pattern=CPU_MOE, buffer="CPU"))
        elif argument.name == "-ncmoe":
            n_layers = whole_number("-ncmoe", value)
            if not 0 <= n_layers <= MOST_OVERRIDES:
                raise InputError(
                    f"-ncmoe {value} is no number of layers",
                    hint=f"give 0 to {MOST_OVERRIDES}",
                )
            found += [
                Override(pattern=rf"blk\.{layer}{CPU_MOE}", buffer="CPU")
                for layer in range(n_layers)
            ]
    return tuple(found)


def _whole_slots(shares: tuple[float, ...], act: int) -> tuple[int, ...]:
    """How many slots each device gets of the shares, by the engine's rule."""
    if act == 0:
        return (0,) * len(shares)
    devices = devices_of_shares(shares, act)
    return tuple(devices.count(i) for i in range(len(shares)))


def _exceptions(
    bare: Placement,
    overrides: Sequence[Override],
    shape: ModelShape,
    machine: Machine,
) -> frozenset[TensorException]:
    known = machine.buffer_types
    for override in overrides:
        if override.buffer not in known:
            raise InputError(
                f"-ot sends tensors to {override.buffer!r}, which is not here",
                hint=f"this machine has {', '.join(known)}",
            )
    home = home_buffers(bare, shape, machine)
    moved = buffer_of_tensors(overrides, shape.tensor_names)
    return frozenset(
        TensorException(tensor=name, buffer=buffer)
        for name, buffer in moved.items()
        if buffer != home.get(name)
    )


def home_buffers(
    placement: Placement, shape: ModelShape, machine: Machine
) -> dict[str, str]:
    """The buffer of each tensor if it follows its layer.

    A tied output is not listed twice: the name stands for the input, on the CPU.
    """
    devices = placement.slot_devices(shape.n_slots)
    names = machine.buffer_types
    home = {}
    for tensor in shape.output_tensors:
        home[tensor.name] = _buffer(devices[-1], names)
    for layer in shape.layers:
        for tensor in layer.tensors:
            home[tensor.name] = _buffer(devices[layer.index], names)
    for tensor in shape.shared_tensors:
        home[tensor.name] = _buffer(devices[0], names)
    for tensor in shape.input_tensors:
        home[tensor.name] = "CPU"
    return home


def _buffer(device: int | None, names: tuple[str, ...]) -> str:
    return "CPU" if device is None else names[device]
