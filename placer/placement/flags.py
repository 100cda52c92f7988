"""Placement <-> ``-ngl``, ``-ts``, ``-ot``, ``-sm``, ``-mg``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
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
    from collections.abc import Sequence

    from placer.machine import Machine
    from placer.model import ModelShape

# The engine's own pattern, common.h:1113.
CPU_MOE = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"


def placement_args(placement: Placement, shape: ModelShape) -> list[str]:
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
    overrides = minimal_overrides(placement.exceptions, shape.tensor_names)
    if overrides:
        args += ["-ot", ",".join(map(str, overrides))]
    return args


def placement_from_args(
    args: Sequence[str], shape: ModelShape, machine: Machine
) -> Placement:
    """The placement that llama-server would make of the flags.

    Args:
        args: any of ``-ngl -ts -ot -sm -mg -cmoe -ncmoe`` in the engine's spelling,
            with their values; others are passed over.
        shape: the model.
        machine: the devices, for the default split (free memory) and the buffers.

    Raises:
        InputError: a value that the engine would refuse.
    """
    flags = FlagReader(args)
    n_slots = shape.n_slots
    n_gpu_layers = flags.integer(("-ngl", "--gpu-layers", "--n-gpu-layers"), n_slots)
    act = n_slots if n_gpu_layers < 0 else min(n_gpu_layers, n_slots)
    main_gpu = None
    if flags.text(("-sm", "--split-mode"), "layer") == "none":
        main_gpu = flags.integer(("-mg", "--main-gpu"), 0)
        split = tuple(act if i == main_gpu else 0 for i in range(len(machine.devices)))
    else:
        split = _whole_slots(_shares(flags, machine), act)
    bare = Placement(split=split, main_gpu=main_gpu)
    overrides = flags.overrides()
    exceptions = _exceptions(bare, overrides, shape, machine)
    return Placement(split=split, exceptions=exceptions, main_gpu=main_gpu)


def _shares(flags: FlagReader, machine: Machine) -> tuple[float, ...]:
    """The shares of ``-ts``, or free memory where it is not given."""
    text = flags.text(("-ts", "--tensor-split"), "")
    free = tuple(float(device.free_bytes) for device in machine.devices)
    if not text:
        return free
    try:
        shares = tuple(float(part) for part in text.replace("/", ",").split(","))
    except ValueError:
        raise InputError(
            f"-ts {text!r} is no list of numbers", hint="write -ts 33,15"
        ) from None
    if len(shares) > len(machine.devices) and any(shares[len(machine.devices) :]):
        raise InputError(
            f"-ts {text} names {len(shares)} devices, there are {len(machine.devices)}",
            hint="give one number a device",
        )
    padded = shares + (0.0,) * len(machine.devices)
    padded = padded[: len(machine.devices)]
    return padded if any(padded) else free


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
    for tensor in shape.input_tensors:
        home[tensor.name] = "CPU"
    return home


def _buffer(device: int | None, names: tuple[str, ...]) -> str:
    return "CPU" if device is None else names[device]


class FlagReader:
    """Values of flags in an argv; the last one wins, as in the engine."""

    def __init__(self, args: Sequence[str]) -> None:
        self._args = tuple(args)

    def text(self, names: tuple[str, ...], default: str) -> str:
        """The value that follows the last of ``names``."""
        for index in range(len(self._args) - 1, -1, -1):
            if self._args[index] in names:
                if index + 1 == len(self._args):
                    raise InputError(
                        f"{self._args[index]} stands without a value",
                        hint="give it one",
                    )
                return self._args[index + 1]
        return default

    def integer(self, names: tuple[str, ...], default: int) -> int:
        """The same as a whole number; ``all`` and ``auto`` are -1."""
        text = self.text(names, str(default))
        if text in ("all", "auto"):
            return -1
        try:
            return int(text)
        except ValueError:
            raise InputError(
                f"{names[0]} {text!r} is no whole number", hint="give a number"
            ) from None

    def overrides(self) -> tuple[Override, ...]:
        """``-ot``, ``-cmoe`` and ``-ncmoe`` in order: they share one list.

        Source: common.h:1113, arg.cpp:2720.
        """
        found: list[Override] = []
        for index, arg in enumerate(self._args):
            value = self._args[index + 1] if index + 1 < len(self._args) else ""
            if arg in ("-ot", "--override-tensor"):
                found += parse_overrides(value)
            elif arg in ("-cmoe", "--cpu-moe"):
                found.append(Override(pattern=CPU_MOE, buffer="CPU"))
            elif arg in ("-ncmoe", "--n-cpu-moe"):
                found += [
                    Override(pattern=rf"blk\.{layer}{CPU_MOE}", buffer="CPU")
                    for layer in range(self.integer((arg,), 0))
                ]
        return tuple(found)
