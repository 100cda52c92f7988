"""What a search starts from: as it is now, or as it was when it was broken off."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from placer.app.desk import open_desk_on
from placer.app.planned import margins_bytes, on_best_devices
from placer.app.study import Setting, search_header
from placer.errors import InputError, JournalError
from placer.machine.host import boot_id
from placer.machine.lock import locked
from placer.search.recall import Recall, recall_of
from placer.search.records import read_study, study_folders
from placer.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.app.study import StudyOptions
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.machine import Machine
    from placer.search.records import StudyRecord

# A desktop breathes so much.
BREATH_BYTES = 64 * MIB
# What a search that goes on must have in common with itself, and what it is called.
SAME = {
    "model": "model",
    "workload": "workload",
    "extra_args": "extra arguments",
    "engine": "engine",
    "rpc": "list of RPC servers",
    "emulated": "kind of devices",
    "proof": "--proof",
    "goal": "--for",
    "margins_bytes": "--margin",
    "by_launch": "--launch-beyond",
}
DEVICE = ("name", "description", "total_bytes", "driver")


@contextmanager
def open_setting(
    target: Target, where: Where, options: StudyOptions
) -> Iterator[tuple[Setting, Recall | None]]:
    """The target on the devices that are of use, and what is known of its launches.

    Nobody else's search uses the devices meanwhile.

    Raises:
        InputError: there is nothing to resume, or it was a search of something else.
        MachineError: no engine, no device, or another search is using one.
    """
    old = broken_off(where.logs, target.name) if options.resume else None
    since = None if old is None else str(old.header["started"])
    with (
        where.rig(target.rpc) as opened,
        open_desk_on(target, where, opened, before=since) as (desk, rig),
    ):
        setting = _setting(desk, rig, options, old)
        what = f"placer optimize {target.name}"
        with locked(setting.rig.machine, what, owner=rig.owner):
            yield setting, None if old is None else recall_of(old, boot_id())


def _setting(
    opened: Desk, every: Rig, options: StudyOptions, old: StudyRecord | None
) -> Setting:
    """The target on those of its devices that are of use, in their best order."""
    if old is not None:
        opened = opened.on(as_it_was(opened.machine, old))
    margins = margins_bytes(options.margins_mib, opened.machine)
    desk, planner = on_best_devices(opened, margins, options.goal)
    rig = every.only(tuple(device.name for device in desk.machine.devices))
    rig = replace(rig, machine=desk.machine)
    header = search_header(desk.target, rig, options, planner.margins_bytes)
    if old is not None:
        require_same(old, header)
    return Setting(desk=desk, rig=rig, planner=planner, options=options, header=header)


def broken_off(logs: Path, name: str) -> StudyRecord:
    """The newest search of a profile, which has not come to its end.

    Raises:
        InputError: there is none, or the newest is whole.
    """
    for folder in reversed(study_folders(logs, name)):
        try:
            study = read_study(folder)
        except JournalError:
            # It was killed before its first line was whole: there is nothing to lose.
            continue
        if study.is_whole:
            break
        return study
    raise InputError(
        f"no search of {name!r} under {logs} was broken off",
        hint="leave out --resume to start one",
    )


def as_it_was(machine: Machine, old: StudyRecord) -> Machine:
    """The devices with what was free of them when the search began.

    Raises:
        InputError: they are other devices, or somebody has taken of them meanwhile.
    """
    free = {d["name"]: int(d["free_bytes"]) for d in old.header["devices"]}
    devices = []
    for device in machine.devices:
        was = free.get(device.name, device.free_bytes)
        if device.free_bytes < was - BREATH_BYTES:
            raise InputError(
                f"{device.name} has {size_text(was - device.free_bytes)} less free "
                f"than when the search in {old.folder} began",
                hint="close what took it, or start anew without --resume",
            )
        devices.append(replace(device, free_bytes=was))
    return replace(machine, devices=tuple(devices))


def require_same(old: StudyRecord, header: Mapping[str, Any]) -> None:
    """A search goes on only under what it began with.

    Raises:
        InputError: something is not as it was.
    """
    changed = [
        f"another {words}"
        for key, words in SAME.items()
        if old.header.get(key) != header.get(key)
    ]
    pairs = zip(old.header["devices"], header["devices"], strict=False)
    if len(old.header["devices"]) != len(header["devices"]) or any(
        before.get(key) != after.get(key) for before, after in pairs for key in DEVICE
    ):
        changed.append("other devices")
    if changed:
        raise InputError(
            f"the search in {old.folder} had {', '.join(changed)}",
            hint="start anew without --resume, or ask what it asked",
        )
