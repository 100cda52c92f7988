"""Presets: models.conf as the file of llama-server's router, and how many at once."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.planned import margins_bytes
from placer.app.standing import own_placement
from placer.app.target import PLACEMENT_FLAGS, WORKLOAD_FLAGS, model_path
from placer.app.together import less_margins, open_desks, stated_member
from placer.errors import InputError, SearchError
from placer.profiles import read_arguments, read_conf
from placer.router import (
    ROUTERS_OWN,
    Preset,
    Resident,
    left_bytes,
    most_at_once,
    options_of,
    pools_of,
    preset_text,
)
from placer.router.residents import CPU
from placer.units import size_text
from placer.whole import MARK, write_anew

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from placer.app.desk import Desk
    from placer.app.target import Target
    from placer.app.together import Member
    from placer.app.where import Where
    from placer.machine import Machine
    from placer.router import Pool

FILE = "models.ini"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions:
    """What may be resident, and what is from the start.

    Attributes:
        on_startup: profiles that the router loads when it starts; None for as many as
            may be resident, the first of models.conf.
        margins_mib: MiB to leave free on each device; one figure is for all.
    """

    on_startup: tuple[str, ...] | None = None
    margins_mib: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presets:
    """A preset file, and how the router has to be started with it.

    Attributes:
        machine: the devices that it is for.
        presets: one a profile, in the order of models.conf.
        models_max: the largest number of which any so many fit at the same time.
        left_out: profiles that are not in it, and why.
        notes: what a person should know.
    """

    machine: Machine
    presets: tuple[Preset, ...]
    models_max: int
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def command(self, path: Path | str = FILE) -> str:
        """How the router is started; what may be resident cannot be in the file."""
        words = ["llama-server", "--models-preset", str(path)]
        return shlex.join([*words, "--models-max", str(self.models_max)])

    def text(self, path: Path | str = FILE) -> str:
        """The whole file."""
        comments = (
            f"{MARK} presets from models.conf: edit that and write it anew.",
            self.command(path),
        )
        return preset_text(self.presets, comments)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A profile that can stand in the file.

    Attributes:
        preset: its section.
        resident: what it holds; None where nobody knows.
        notes: what a person should know.
    """

    preset: Preset
    resident: Resident | None
    notes: tuple[str, ...] = ()


class _LeftOutError(Exception):
    """A profile that cannot stand in the file; the text says why."""


def presets(
    names: Sequence[str], where: Where, options: PresetOptions | None = None
) -> Presets:
    """The router's preset file for profiles.

    Args:
        names: of profiles; none for all whose model is there.
        where: engine, devices, files.
        options: what may be resident.

    Raises:
        InputError: no such profile, or it says what a preset cannot.
        MachineError: no engine, or no device.
        SearchError: none of them fits.
    """
    asked = options or PresetOptions()
    chosen, left_out = _chosen(names, where)
    refused = None if names else left_out
    ready = []
    with open_desks(chosen, where, refused) as (machine, desks):
        margins = margins_bytes(asked.margins_mib, machine)
        pools = less_margins(pools_of(machine), margins)
        for name, desk in desks:
            try:
                ready.append(_ready(name, desk, machine, pools))
            except _LeftOutError as error:
                left_out.append((name, str(error)))
            except InputError as error:
                if names:
                    raise
                left_out.append((name, error.problem))
    if not ready:
        raise _nothing(left_out)
    most = _models_max(pools, ready)
    first = _on_startup([one.preset.name for one in ready], most, asked.on_startup)
    return Presets(
        machine=machine,
        presets=tuple(_started(one.preset, first) for one in ready),
        models_max=most,
        left_out=tuple(left_out),
        notes=tuple(note for one in ready for note in one.notes),
    )


def write_presets(found: Presets, path: Path, *, force: bool = False) -> None:
    """Write the file, whole or not at all.

    Raises:
        InputError: it is there and not placer's, or cannot be written.
    """
    write_anew(path, found.text(path), force=force)


def _chosen(
    names: Sequence[str], where: Where
) -> tuple[list[str], list[tuple[str, str]]]:
    """The profiles to write; of all, those whose model is not there are left out."""
    conf = read_conf(where.folders.conf_path)
    if names:
        return [conf.profile(name).id for name in dict.fromkeys(names)], []
    chosen, left_out = [], []
    for profile in conf.profiles:
        try:
            model_path(profile.model or "", where.folders)
            chosen.append(profile.id)
        except InputError as error:
            missing = "it has no MODEL" if profile.model is None else error.problem
            left_out.append((profile.id, missing))
    return chosen, left_out


def _ready(name: str, desk: Desk, machine: Machine, pools: Sequence[Pool]) -> _Ready:
    """The profile's section, and what it holds.

    Raises:
        InputError: it says what a preset cannot.
        _LeftOutError: it does not fit even alone.
    """
    target = desk.target
    tokens = ["--model", str(target.file.path.absolute()), *target.workload.args()]
    tokens += _passed_on(target)
    notes: list[str] = []
    resident = None
    try:
        placed = own_placement(target)
    except InputError:
        tokens += _placed_by_engine(target)
        notes.append(f"[{name}] is placed by --fit in all that is free: --models-max 1")
    else:
        member = stated_member(name, desk, machine)
        tokens += ["-fit", "off", *placed, *_own_split(placed, member)]
        notes += _fitting(member.resident, pools)
        if member.rated.is_complete:
            resident = member.resident
        else:
            notes.append(f"[{name}] holds what is not all known: --models-max 1")
    if target.rpc:
        tokens += ["--rpc", target.rpc]
    options = options_of(tokens)
    notes += [
        f"[{name}] has --{key}, which is the router's own: give it to llama-server"
        for key in options
        if key in ROUTERS_OWN
    ]
    kept = {key: value for key, value in options.items() if key not in ROUTERS_OWN}
    return _Ready(
        preset=Preset(name=name, options=kept), resident=resident, notes=tuple(notes)
    )


def _passed_on(target: Target) -> list[str]:
    """The profile's flags that are neither workload nor placement."""
    if target.profile is None:
        return []
    owned = WORKLOAD_FLAGS | PLACEMENT_FLAGS | {"--rpc"}
    arguments = read_arguments(target.profile)
    return [t for a in arguments if a.name not in owned for t in a.text.split()]


def _placed_by_engine(target: Target) -> list[str]:
    """The flags by which llama-server places it, ``-fit`` among them."""
    flags = list(target.placement_args)
    return flags if "-fit" in flags else ["-fit", "on", *flags]


def _own_split(flags: Sequence[str], member: Member) -> list[str]:
    """``-ts`` where the profile has none.

    The engine would divide by what is free when it starts, which is something else
    beside other models.
    """
    placement = member.rated.candidate.placement
    if "-ts" in flags or placement.main_gpu is not None:
        return []
    return ["-ts", ",".join(map(str, placement.split))]


def _fitting(resident: Resident, pools: Sequence[Pool]) -> Iterable[str]:
    """What is to be said of it where the host's memory is short.

    Raises:
        _LeftOutError: a device is.
    """
    left = left_bytes(pools, [resident])
    short = [
        f"{pool.name} {size_text(-n_bytes)}"
        for pool, n_bytes in zip(pools, left, strict=True)
        if n_bytes < 0 and pool.name != CPU
    ]
    if short:
        raise _LeftOutError(f"it does not fit even alone, short of {', '.join(short)}")
    if any(n_bytes < 0 for n_bytes in left):
        yield (
            f"[{resident.name}] holds {size_text(resident.host_bytes)} of the host's "
            f"memory, more than is free: it would read from the disk"
        )


def _models_max(pools: Sequence[Pool], ready: Sequence[_Ready]) -> int:
    """The largest number of which any so many fit; one can always be tried alone.

    The router puts out the one that was used the longest ago, whatever it holds.
    """
    residents = [one.resident for one in ready if one.resident is not None]
    if len(residents) < len(ready):
        return 1
    return max(most_at_once(pools, residents), 1)


def _on_startup(
    names: Sequence[str], most: int, asked: tuple[str, ...] | None
) -> Sequence[str]:
    """The profiles to load when the router starts.

    Raises:
        InputError: one is not in the file, or there are more than may be resident.
    """
    if asked is None:
        return names[:most]
    for name in asked:
        if name not in names:
            raise InputError(
                f"--load-on-startup {name} is not in the file",
                hint=f"it has {', '.join(names)}",
            )
    if len(asked) > most:
        raise InputError(
            f"--load-on-startup names {len(asked)} profiles, and not any {len(asked)} "
            f"of the file fit at the same time",
            hint="name fewer, or write a file of those profiles alone",
        )
    return asked


def _started(preset: Preset, first: Sequence[str]) -> Preset:
    return Preset(
        name=preset.name, options=preset.options, on_startup=preset.name in first
    )


def _nothing(left_out: Sequence[tuple[str, str]]) -> SearchError:
    """No profile can stand in the file."""
    reasons = "; ".join(f"[{name}]: {reason}" for name, reason in left_out)
    return SearchError(
        f"no profile can be served here: {reasons or 'there is none'}",
        hint="placer optimize PROFILE finds a placement that fits",
    )
