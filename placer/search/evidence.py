"""What launches have taught about each device: bytes it holds, refuses, has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Device, Machine

# Readings of free memory are in whole MiB, and other programs breathe.
SLACK_BYTES = 4 * MIB
SLACK_SHARE = 1 / 512
# Of what a device was believed to hold, so much at least is given up by a refusal:
# going too far costs one launch, since what is left is read then; too little as many as
# it takes.
LEAST_SHARE = 1 / 16


@dataclass(slots=True, kw_only=True)
class DeviceEvidence:
    """One device. All figures are what the engine asks of it, in bytes.

    Attributes:
        believed_bytes: what it should hold.
        most_bytes: what it cannot hold more than, whatever is believed.
        unit_bytes: the smallest step that is worth a launch.
        slack_bytes: by what a reading of its memory may be off.
        held_bytes: the most that it was seen to hold, under the whole proof.
        refused_bytes: the least that it was seen to refuse, None before the first.
        measured_bytes: what it was seen to hold and to have left; None where nobody
            could say.
        surprises: how often a launch contradicted the belief.
    """

    believed_bytes: int
    most_bytes: int
    unit_bytes: int
    slack_bytes: int = 0
    held_bytes: int = 0
    refused_bytes: int | None = None
    measured_bytes: int | None = None
    surprises: int = 0

    @property
    def ceiling_bytes(self) -> int:
        """What nothing that was seen excludes."""
        known = [self.most_bytes]
        if self.refused_bytes is not None:
            known.append(self.refused_bytes - 1)
        if self.measured_bytes is not None:
            known.append(self.measured_bytes)
        # What it was seen to hold stands against any reading.
        return max(min(known), self.held_bytes)

    def hold(self, needs_bytes: int, left_bytes: int | None) -> None:
        """It was seen to hold so much, and to have so much left where that is known."""
        self.held_bytes = max(self.held_bytes, needs_bytes)
        if left_bytes is not None and needs_bytes:
            self._measured(needs_bytes + left_bytes)
        elif needs_bytes > self.believed_bytes:
            self._gallop(needs_bytes, 1)
        self._between()

    def refuse(self, asked_bytes: int) -> None:
        """It was seen to run out of memory when it had been asked for so much."""
        known = self.refused_bytes
        self.refused_bytes = asked_bytes if known is None else min(known, asked_bytes)
        if self.measured_bytes is not None:
            self._measured(self.measured_bytes)
        elif asked_bytes <= self.believed_bytes:
            self._gallop(asked_bytes, -1)
        self._between()

    def _measured(self, n_bytes: int) -> None:
        """A reading is believed, unless a refusal shows it to be off."""
        if self.refused_bytes is not None and n_bytes >= self.refused_bytes:
            n_bytes = self.refused_bytes - self.slack_bytes
        self.measured_bytes = max(n_bytes, self.held_bytes)
        self.believed_bytes = self.measured_bytes

    def _gallop(self, from_bytes: int, direction: int) -> None:
        """One step away from what was seen, then four more, then sixteen more...

        Down to half of it at most.
        """
        self.surprises += 1
        step = max(self.unit_bytes, int(from_bytes * LEAST_SHARE))
        n = (4**self.surprises - 1) // 3
        self.believed_bytes = max(from_bytes + direction * n * step, from_bytes // 2)

    def _between(self) -> None:
        """Never below what it held; in the middle where nothing was measured."""
        is_blind = self.measured_bytes is None and self.surprises
        if is_blind and self.held_bytes and self.refused_bytes is not None:
            self.believed_bytes = (self.held_bytes + self.refused_bytes) // 2
        self.believed_bytes = max(self.believed_bytes, self.held_bytes)


def slack_bytes(device: Device) -> int:
    """By what a reading of the device's memory may be off."""
    return max(SLACK_BYTES, int(device.total_bytes * SLACK_SHARE))


class Evidence:
    """All devices.

    Args:
        machine: the devices, with what they have free.
        unit_bytes: the smallest step on each that is worth a launch.
    """

    def __init__(self, machine: Machine, unit_bytes: Sequence[int]) -> None:
        self.devices = []
        for device, unit in zip(machine.devices, unit_bytes, strict=True):
            slack = slack_bytes(device)
            self.devices.append(
                DeviceEvidence(
                    believed_bytes=device.usable_bytes,
                    most_bytes=device.free_bytes + slack,
                    unit_bytes=unit,
                    slack_bytes=slack,
                )
            )

    @property
    def believed(self) -> list[int]:
        """What each device should hold, as far as nothing excludes it."""
        return [min(d.believed_bytes, d.ceiling_bytes) for d in self.devices]

    @property
    def ceilings(self) -> list[int]:
        """What nothing excludes that each device holds."""
        return [d.ceiling_bytes for d in self.devices]

    def hold(self, needs: Sequence[int], left: Sequence[int | None]) -> None:
        """A launch was seen to fit.

        Args:
            needs: bytes that it took of each device.
            left: bytes that each device had left, None where nobody said.
        """
        for device, n_bytes, room in zip(self.devices, needs, left, strict=True):
            device.hold(n_bytes, room)

    def refuse(self, index: int, asked_bytes: int) -> None:
        """A device was seen to run out of memory.

        What one device hides the others may hide too: those of which nothing is known
        are believed to hold as much less.
        """
        device = self.devices[index]
        before = device.believed_bytes
        device.refuse(asked_bytes)
        if not before or device.believed_bytes >= before:
            return
        for other in self.devices:
            if other is not device and not (other.held_bytes or other.surprises):
                share = device.believed_bytes / before
                other.believed_bytes = int(other.believed_bytes * share)
