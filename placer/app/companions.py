"""Models that are loaded beside the model: an image projector, a draft model.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.app.target import model_path
from placer.errors import InputError
from placer.gguf import read_gguf
from placer.memory import MemoryBreakdown, estimate_memory
from placer.memory.compute import nextn_compute_of
from placer.memory.context import nextn_bytes_by_layer
from placer.memory.estimate import by_device
from placer.memory.weights import allocated_bytes
from placer.model import model_shape
from placer.model.architectures import DRAFTS_BY_NEXTN
from placer.placement import placement_args, placement_from_args
from placer.placement.arguments import flag_values, read_tokens
from placer.placement.drafting import NEXTN, TAKEN_BACK, spec_types
from placer.plan import slot_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.app.target import Folders, Target
    from placer.gguf import GGUFFile
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement, Workload

PROJECTOR, DRAFT = "mmproj", "draft"
# general.architecture of every projector: clip.cpp.
CLIP = "clip"
# Flags by which a draft is placed on its own.
OWN_PLACEMENT = frozenset("-ngld -otd -cmoed -ncmoed".split())
# Flags of drafting, to be kept out of a dry run of the model alone.
DRAFTING = frozenset("-md -ngld -devd -otd -cmoed -ncmoed -ctkd -ctvd".split())
NOTHING = MemoryBreakdown(model_bytes=0, context_bytes=0, compute_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A model beside the model, and what it holds.

    Attributes:
        kind: ``"mmproj"``, ``"draft"`` or ``"draft-mtp"``.
        name: of its file.
        devices: one a device, in the machine's order.
        host: what the CPU holds of it.
    """

    kind: str
    name: str
    devices: tuple[MemoryBreakdown, ...]
    host: MemoryBreakdown

    @property
    def unknown(self) -> str | None:
        """What is not known of it, in words; None where all is."""
        held = (*self.devices, self.host)
        if any(one.context_bytes is None for one in held):
            return f"context of {self.name}"
        if any(one.compute_bytes is None for one in held):
            return f"compute buffer of {self.name} ({self.kind})"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """All that a target loads beside its model.

    Attributes:
        flags: the target's flags by name.
        projector: the file of an image projector, None where there is none.
        draft: the file of a draft model, None where there is none.
        by_nextn: whether NextN layers of the model itself draft.
        unknown: the kinds of drafting that placer has no formula for.
    """

    flags: Mapping[str, str]
    projector: GGUFFile | None = None
    draft: GGUFFile | None = None
    by_nextn: bool = False
    unknown: tuple[str, ...] = ()

    def on(
        self, placement: Placement, target: Target, machine: Machine
    ) -> tuple[Companion, ...]:
        """What each would hold beside the target's model, so placed."""
        found = []
        if self.projector is not None:
            found.append(self._projector(self.projector, machine))
        if self.draft is not None:
            found.append(self._draft(self.draft, placement, target, machine))
        if self.by_nextn:
            found.append(self._nextn(placement, target, machine))
        return tuple(found)

    def by_slot(self, target: Target, backend: str) -> tuple[int, ...]:
        """What of them follows each slot of the model; empty where nothing does.

        A draft of which all is on GPUs is divided by the same ``-ts``: its slot ``j``
        of ``m`` is where the model's slot ``floor(j n / m)`` of ``n`` is, as long as
        the model is all on GPUs too.
        """
        shape, asked = target.shape, draft_workload(target.workload, self.flags)
        more = [0] * shape.n_slots
        if self.by_nextn:
            for index, n_bytes in enumerate(nextn_bytes_by_layer(shape, asked) or ()):
                more[index] += n_bytes
        if self.draft is not None and not OWN_PLACEMENT & self.flags.keys():
            costs = slot_costs(model_shape(self.draft), asked, backend)
            for index in range(costs.n_slots):
                n_bytes = costs.fixed[index] + costs.experts[index]
                more[index * shape.n_slots // costs.n_slots] += n_bytes
        return tuple(more) if any(more) else ()

    def _projector(self, file: GGUFFile, machine: Machine) -> Companion:
        """The projector: all of it on the first device, clip.cpp:188.

        The engine asks the registry for its first GPU, whatever ``-dev`` says, unless
        ``-mmdev`` names one; ``--no-mmproj-offload`` keeps it on the CPU.
        """
        names = [device.name for device in machine.devices]
        named = self.flags.get("-mmdev", names[0])
        on_host = self.flags.get("--mmproj-offload") == "off" or named == "none"
        if not on_host and named not in names:
            raise InputError(
                f"-mmdev {named} is no device", hint=f"there are {', '.join(names)}"
            )
        index = None if on_host else names.index(named)
        backend = "CPU" if index is None else machine.devices[index].backend
        held = MemoryBreakdown(
            model_bytes=sum(allocated_bytes(t, backend) for t in file.tensors),
            context_bytes=0,
            compute_bytes=None,
        )
        return Companion(
            kind=PROJECTOR,
            name=file.path.name,
            devices=tuple(held if i == index else NOTHING for i in range(len(names))),
            host=held if index is None else NOTHING,
        )

    def _draft(
        self, file: GGUFFile, placement: Placement, target: Target, machine: Machine
    ) -> Companion:
        shape = model_shape(file)
        estimate = estimate_memory(
            shape,
            draft_workload(target.workload, self.flags),
            self._draft_placement(shape, placement, target, machine),
            machine,
        )
        return Companion(
            kind=DRAFT,
            name=file.path.name,
            devices=estimate.devices,
            host=estimate.host,
        )

    def _nextn(
        self, placement: Placement, target: Target, machine: Machine
    ) -> Companion:
        """The second context of the model, on the devices of its NextN layers."""
        shape, asked = target.shape, draft_workload(target.workload, self.flags)
        by_layer = nextn_bytes_by_layer(shape, asked)
        context = by_device(by_layer, shape, asked, placement, machine) or ()
        found = nextn_compute_of(shape, asked, placement, machine)
        compute = (
            (None,) * len(context)
            if found is None
            else (*found.device_bytes, found.host_bytes)
        )
        held = [
            MemoryBreakdown(model_bytes=0, context_bytes=c, compute_bytes=g)
            for c, g in zip(context, compute, strict=True)
        ]
        return Companion(
            kind=NEXTN,
            name=target.file.path.name,
            devices=tuple(held[:-1]),
            host=held[-1],
        )

    def _draft_placement(
        self,
        shape: ModelShape,
        placement: Placement,
        target: Target,
        machine: Machine,
    ) -> Placement:
        """Where the draft's layers go.

        It shares ``-ts``, ``-sm`` and ``-mg`` with the model, and has ``-ngld``,
        ``-otd``, ``-cmoed`` and ``-ncmoed`` of its own: common/speculative.cpp:2521.
        """
        if "-devd" in self.flags:
            raise InputError(
                "-devd is not understood", hint="leave it out: it follows --device"
            )
        bare = replace(placement, exceptions=frozenset(), unpipelined=False)
        args = placement_args(bare, target.shape)
        args[args.index("-ngl") + 1] = self.flags.get("-ngld", "all")
        if "-otd" in self.flags:
            args += ["-ot", self.flags["-otd"]]
        if self.flags.get("-cmoed") == "on":
            args += ["-cmoe"]
        if "-ncmoed" in self.flags:
            args += ["-ncmoe", self.flags["-ncmoed"]]
        return placement_from_args(args, shape, machine)


def companions_of(target: Target, folders: Folders) -> Companions:
    """What the target's flags load beside its model.

    Raises:
        InputError: one of the files is not there, no whole GGUF, or no projector.
    """
    flags = flag_values(read_tokens(target.extra_args))
    files = {
        flag: read_gguf(model_path(flags[flag], folders))
        for flag in ("-mm", "-md")
        if flag in flags
    }
    draft_workload(target.workload, flags)  # its cache types are read in any case
    projector = files.get("-mm")
    if projector is not None and projector.architecture != CLIP:
        raise InputError(
            f"is no image projector but a model, {projector.architecture}",
            path=projector.path,
            hint="--mmproj takes the mmproj-*.gguf that belongs to the model",
        )
    kinds = spec_types(flags) & TAKEN_BACK
    by_nextn = (
        kinds == {NEXTN}
        and "-md" not in flags
        and target.shape.architecture in DRAFTS_BY_NEXTN
    )
    return Companions(
        flags=flags,
        projector=projector,
        draft=files.get("-md"),
        by_nextn=by_nextn,
        unknown=() if by_nextn else tuple(sorted(kinds)),
    )


def draft_workload(workload: Workload, flags: Mapping[str, str]) -> Workload:
    """What the draft's context is asked for: common/speculative.cpp:2593.

    As many tokens as the model's, the same batches and slots; cache types of its own,
    f16 where ``-ctkd`` and ``-ctvd`` do not say.
    """
    return replace(
        workload,
        type_k=flags.get("-ctkd", "f16"),
        type_v=flags.get("-ctvd", "f16"),
        drafted=0,
        kept_states=0,
    )


def without_drafting(tokens: Sequence[str]) -> tuple[str, ...]:
    """The flags of a launch that loads no draft model.

    Where none is loaded they are those of the model's own NextN layers, and stay.
    """
    kept: list[str] = []
    at = 0
    arguments = read_tokens(tokens)
    if not any(argument.name == "-md" for argument in arguments):
        return tuple(tokens)
    for argument in arguments:
        option = argument.option
        size = 2 if option is not None and option.takes_value else 1
        if argument.name not in DRAFTING:
            kept += tokens[at : at + size]
        at += size
    return tuple(kept)
