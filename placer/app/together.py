"""Together: whether profiles fit side by side, and with which placements."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.desk import open_desk, open_desk_on
from placer.app.planned import margins_bytes
from placer.app.rated import candidate_of, rate, rated_flags
from placer.app.seating import Seat, Seating, ratio
from placer.app.standing import own_placement
from placer.app.target import resolve
from placer.app.where import Request
from placer.errors import InputError
from placer.plan import Goal
from placer.router import Resident, left_bytes, pools_of
from placer.serve import default_state
from placer.serve.alive import seems_alive
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from placer.app.desk import Desk
    from placer.app.rated import Rated
    from placer.app.rig import Rig
    from placer.app.seating import Placed
    from placer.app.where import Where
    from placer.machine import Machine
    from placer.router import Pool

# Times that all is planned, each but the first with what dry runs said.
DRY_RUNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TogetherOptions:
    """What placements are to be best at.

    Attributes:
        goal: what it is to be best at.
        margins_mib: MiB to leave free on each device; one figure is for all.
        on_step: told what is being done.
    """

    goal: Goal = Goal.DECODE
    margins_mib: tuple[int, ...] = (0,)
    on_step: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One profile beside the others.

    Attributes:
        name: the profile's, or the model file's.
        desk: the profile on the devices that it uses here.
        rated: its placement, and what is known of it.
        resident: what its process would hold of the whole machine.
        alone: tokens per second written with the devices to itself, by the same means.
    """

    name: str
    desk: Desk
    rated: Rated
    resident: Resident
    alone: float

    @property
    def together(self) -> float:
        """Tokens per second written as placed here, while the others wait."""
        return self.rated.candidate.speed.decode.mid


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """A placement of each, and what all of them leave.

    Attributes:
        members: in the order in which they were named.
        left_bytes: of each pool, margins taken off; negative where they do not fit.
        ratio: the geometric mean of the speed of each to what it does alone.
    """

    members: tuple[Member, ...]
    left_bytes: tuple[int, ...]
    ratio: float = 1.0

    @property
    def is_known(self) -> bool:
        """Whether every figure that decides is known."""
        return all(member.rated.is_complete for member in self.members)

    @property
    def fits(self) -> bool:
        """Whether all is known and every pool has room: an estimate, no proof."""
        return self.is_known and min(self.left_bytes) >= 0

    @property
    def short_bytes(self) -> int:
        """What is missing, over all pools."""
        return sum(max(-left, 0) for left in self.left_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Whether profiles fit side by side.

    Attributes:
        machine: all devices.
        pools: what they share.
        margins_bytes: left free of each device.
        goal: what placements are best at.
        stated: as models.conf has them; None where one of them has no placement here.
        unstated: of which profile models.conf has none, and why.
        planned: with other placements; None where the stated ones fit.
        running: those that are served now: what they hold is not free.
    """

    machine: Machine
    pools: tuple[Pool, ...]
    margins_bytes: tuple[int, ...]
    goal: Goal
    stated: Arrangement | None
    unstated: tuple[tuple[str, str], ...] = ()
    planned: Arrangement | None = None
    running: tuple[str, ...] = ()

    @property
    def best(self) -> Arrangement:
        """The one to use, or the one that misses by the least."""
        found = [one for one in (self.stated, self.planned) if one is not None]
        return min(found, key=lambda one: (not one.fits, one.short_bytes))

    @property
    def fits(self) -> bool:
        """Whether they fit, with whichever placements: an estimate, no proof."""
        return self.best.fits


def together(
    names: Sequence[str], where: Where, options: TogetherOptions | None = None
) -> Together:
    """Whether the profiles fit at the same time.

    First as models.conf has them. Where that does not fit, or is not of this machine,
    each is planned in what the others leave, from many divisions of the memory; the
    placements with the least slowdown are kept, by the geometric mean of predicted
    speed to that of each alone.

    Args:
        names: profiles or model files, two or more.
        where: engine, devices, files.
        options: what placements are to be best at.

    Raises:
        InputError: no such profile, or one named twice.
        MachineError: no engine, or no device.
        SearchError: one of them does not fit even alone, or nothing was found.
    """
    asked = options or TogetherOptions()
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError("name two or more different profiles")
    with open_desks(names, where) as (machine, desks):
        pools = pools_of(machine)
        margins = margins_bytes(asked.margins_mib, machine)
        free = less_margins(pools, margins)
        asked.on_step("as models.conf has them")
        stated, unstated = _stated(desks, machine, free)
        found = Together(
            machine=machine,
            pools=pools,
            margins_bytes=margins,
            goal=asked.goal,
            stated=stated,
            unstated=unstated,
            running=_running(names) if _is_real(where) else (),
        )
        if stated is None or not stated.fits:
            asked.on_step("planning them together")
            planned = _planned(desks, machine, free, asked.goal)
            found = replace(found, planned=planned)
        return found


def less_margins(pools: Sequence[Pool], margins: Sequence[int]) -> tuple[Pool, ...]:
    """The pools with something left free of each device."""
    return tuple(
        pool
        if pool.device is None
        else replace(pool, free_bytes=pool.free_bytes - margins[pool.device])
        for pool in pools
    )


@contextmanager
def open_desks(
    names: Sequence[str], where: Where, refused: list[tuple[str, str]] | None = None
) -> Iterator[tuple[Machine, list[tuple[str, Desk]]]]:
    """Each profile on the machine that is described, else on the one that is here.

    Args:
        names: of profiles or of model files.
        where: engine, devices, files.
        refused: is told which cannot be opened, and why; None raises that.

    Raises:
        InputError: no such profile, or they name different RPC devices.
        MachineError: no engine, or no device.
    """
    with ExitStack() as stack:
        machine, rig = where.described(), None
        if machine is None:
            rig = stack.enter_context(where.rig(_endpoints(names, where)))
            machine = rig.machine
        desks = []
        for name in names:
            try:
                desk = _opened(name, where, rig)
                desks.append((name, stack.enter_context(desk)))
            except InputError as error:
                if refused is None:
                    raise
                refused.append((name, error.problem))
        yield machine, desks


@contextmanager
def _opened(name: str, where: Where, rig: Rig | None) -> Iterator[Desk]:
    if rig is None:
        with open_desk(name, where, Request()) as desk:
            yield desk
        return
    target = resolve(name, where.folders, Request().asked)
    with open_desk_on(target, where, rig) as (desk, _):
        yield desk


def _endpoints(names: Sequence[str], where: Where) -> str | None:
    """The RPC devices that all of them name, or none.

    Raises:
        InputError: they name different ones.
    """
    found = set()
    for name in names:
        with suppress(InputError):  # told when it is opened
            found.add(resolve(name, where.folders, Request().asked).rpc)
    found.discard(None)
    if len(found) > 1:
        raise InputError(
            "they name different RPC devices", hint="give all of them with --rpc"
        )
    return next(iter(found), None)


def _is_real(where: Where) -> bool:
    return where.described() is None and where.emulate is None


def _running(names: Sequence[str]) -> tuple[str, ...]:
    """Those that are served on the real devices now."""
    return tuple(
        server.profile
        for server in default_state().servers()
        if server.profile in names and not server.emulated and seems_alive(server)
    )


def stated_member(name: str, desk: Desk, machine: Machine) -> Member:
    """A profile as models.conf has it.

    Raises:
        InputError: it has no placement there, or not one of this machine.
    """
    rated = rated_flags(own_placement(desk.target), desk)
    return _member(name, desk, rated, machine, rated.candidate.speed.decode.mid)


def _stated(
    desks: Sequence[tuple[str, Desk]], machine: Machine, free: Sequence[Pool]
) -> tuple[Arrangement | None, tuple[tuple[str, str], ...]]:
    """All as models.conf has them; which of them it does not have, and why."""
    members, unstated = [], []
    for name, desk in desks:
        try:
            members.append(stated_member(name, desk, machine))
        except InputError as error:
            unstated.append((name, error.problem))
    if unstated:
        return None, tuple(unstated)
    return _arranged(members, free), ()


def _member(
    name: str, desk: Desk, rated: Rated, machine: Machine, alone: float
) -> Member:
    return Member(
        name=name,
        desk=desk,
        rated=rated,
        resident=_resident(name, desk, rated, machine),
        alone=alone,
    )


def _resident(name: str, desk: Desk, rated: Rated, machine: Machine) -> Resident:
    """What a process would hold of the whole machine, of which it may use a part."""
    overhead = rated.overhead_bytes(desk.machine)
    held = {
        device.name: rated.best.devices[index].total_bytes
        + sum(c.devices[index].total_bytes for c in rated.companions)
        + overhead[index]
        for index, device in enumerate(desk.machine.devices)
    }
    beside = sum(companion.host.total_bytes for companion in rated.companions)
    return Resident(
        name=name,
        device_bytes=tuple(held.get(device.name, 0) for device in machine.devices),
        host_bytes=rated.best.host.total_bytes + beside,
    )


def _planned(
    desks: Sequence[tuple[str, Desk]],
    machine: Machine,
    free: Sequence[Pool],
    goal: Goal,
) -> Arrangement:
    """The best placements that were found, as the engine's dry runs have them.

    Raises:
        SearchError: one does not fit even alone, or nothing was found.
    """
    seats = [Seat(name, desk, machine, goal) for name, desk in desks]
    seating = Seating(seats, free)
    for _ in range(DRY_RUNS):
        alone = seating.alone()
        found = seating.best(alone)
        members = [
            _seated(*each, machine) for each in zip(seats, found, alone, strict=True)
        ]
        arrangement = _arranged(members, free, ratio(found, alone))
        if arrangement.fits or not any(one.rated.dry_run for one in members):
            break
        for seat in seats:
            seat.afresh()
    return arrangement


def _seated(seat: Seat, placed: Placed, alone: Placed, machine: Machine) -> Member:
    """The placement with the engine's own figures."""
    desk, placement = placed.desk, placed.choice.placement
    rated = rate(candidate_of(placement, placement, desk, placed.choice.gap), desk)
    if desk is not seat.desk:
        # Of fewer devices: the opened one knows nothing of it.
        desk.remember()
    speed = alone.desk.speed(alone.choice.placement).decode.mid
    return _member(seat.name, desk, rated, machine, speed)


def _arranged(
    members: Sequence[Member], free: Sequence[Pool], ratio: float = 1.0
) -> Arrangement:
    left = left_bytes(free, [member.resident for member in members])
    return Arrangement(members=tuple(members), left_bytes=left, ratio=ratio)


def short_text(pools: Sequence[Pool], arrangement: Arrangement) -> str:
    """What is missing, in words: ``"3.1 GiB short on the CPU"``."""
    short = [
        f"{size_text(-left)} short on {pool.name}"
        for pool, left in zip(pools, arrangement.left_bytes, strict=True)
        if left < 0
    ]
    return ", ".join(short)
