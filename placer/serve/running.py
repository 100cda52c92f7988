"""A server that was started and left running, as its record has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from placer.machine import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedDevice:
    """One device of a running server.

    Attributes:
        name: as the engine calls it, ``CUDA0``.
        description: the card's name.
        total_bytes: its memory.
        free_bytes: what was free when the server was started.
        planned_bytes: what the plan says the server holds of it; None for not known.
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int
    planned_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A llama-server in the background.

    Attributes:
        profile: its id; a state folder has one server a profile.
        name: what a menu shows.
        model: the model's file.
        base_url: where it answers, without a final slash.
        argv: the whole command line; in a container, what follows the image.
        log: the file that holds all that it says; of a container, a copy.
        started: when, ISO 8601 in UTC.
        engine: what its build calls itself.
        devices: in the engine's order.
        pid: on this host, None where it has none here.
        pid_created: when that process began, seconds since the epoch: a number that is
            given again to another process is told by it.
        container: its id, None for a process.
        image: the container's image.
        emulated: whether the devices are not real.
        ctx: tokens of context, all slots together.
        parallel: slots.
    """

    profile: str
    name: str
    model: str
    base_url: str
    argv: tuple[str, ...]
    log: Path
    started: str
    engine: str
    devices: tuple[ServedDevice, ...]
    pid: int | None = None
    pid_created: float | None = None
    container: str | None = None
    image: str | None = None
    emulated: bool = False
    ctx: int = 0
    parallel: int = 1

    def listed(self) -> tuple[Device, ...]:
        """Its devices as the engine listed them, for those who read the cards."""
        return tuple(
            Device(
                name=device.name,
                buffer_type=device.name,
                description=device.description,
                total_bytes=device.total_bytes,
                free_bytes=device.free_bytes,
            )
            for device in self.devices
        )

    def as_json(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return {**asdict(self), "argv": list(self.argv), "log": str(self.log)}

    @classmethod
    def of_json(cls, record: dict[str, Any]) -> Running:
        """The server of a record.

        Raises:
            TypeError, KeyError: it is no such record.
        """
        return cls(
            **{
                **record,
                "argv": tuple(record["argv"]),
                "log": Path(record["log"]),
                "devices": tuple(ServedDevice(**d) for d in record["devices"]),
            }
        )
