"""Where everything is, and what is asked: what every verb is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.app.target import Asked, Folders
from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from placer.app.rig import Rig
    from placer.machine import Machine

LOGS_DEFAULT = Path("search_logs")
IMAGE_VARIABLE = "PLACER_DOCKER_IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where everything is: the engine, its devices, the files.

    Attributes:
        server: the llama-server; None for ``PLACER_LLAMA_SERVER`` or the one on PATH.
            With an image it is the program inside it.
        docker: the image of which containers are started; None for the one that
            ``PLACER_DOCKER_IMAGE`` names where no ``server`` is given, else for none.
        docker_memory: MiB of the host that a container may take; None for all.
        emulate: capacities in MiB of emulated GPUs, None for the real ones.
        rpc: endpoints of ``--rpc``.
        conf: the profile file; None for ``PLACER_CONF`` or ``models.conf``.
        models: the models folder; None for ``PLACER_MODELS_DIR`` or ``models``.
        logs: where searches are recorded.
        devices: devices that need not be here, ``"CUDA0:24564:23671,CUDA1:16303"``:
            name, total MiB, free MiB. No engine is then looked for.
        machine: the same by the name or the path of a machine file.
        ledger: what was learned from dry runs and launches; None for
            ``PLACER_LEDGER`` or the user's data folder.
    """

    server: Path | None = None
    docker: str | None = None
    docker_memory: int | None = None
    emulate: tuple[int, ...] | None = None
    rpc: str | None = None
    conf: Path | None = None
    models: Path | None = None
    logs: Path = LOGS_DEFAULT
    devices: str | None = None
    machine: str | None = None
    ledger: Path | None = None

    @property
    def folders(self) -> Folders:
        """Where profiles and models are looked for."""
        return Folders(conf=self.conf, models=self.models)

    @property
    def image(self) -> str | None:
        """The image of the engine; None for a program of this machine."""
        if self.docker is not None or self.server is not None:
            return self.docker
        return os.environ.get(IMAGE_VARIABLE) or None

    def rig(
        self, rpc: str | None = None, *, folder: Path | None = None
    ) -> AbstractContextManager[Rig]:
        """The engine and the devices.

        Args:
            rpc: a profile's own endpoints.
            folder: where what outlives the command stays; None for nothing that does.

        Raises:
            InputError: the devices are described, not here.
        """
        from placer.app.rig import open_rig

        if self.devices is not None or self.machine is not None:
            raise InputError(
                "devices that are only described cannot run anything",
                hint="leave --devices and --machine to estimate and plan",
            )
        return open_rig(
            server=self.server,
            emulate=self.emulate,
            rpc=self.rpc or rpc,
            folder=folder,
            image=self.image,
            memory_mib=self.docker_memory,
        )

    def described(self) -> Machine | None:
        """The machine of ``devices`` or ``machine``; None where neither is given.

        Raises:
            InputError: it cannot be understood, or something contradicts it.
        """
        if self.devices is None and self.machine is None:
            return None
        others = {
            "--server": self.server,
            "--docker": self.docker,
            "--emulate": self.emulate,
            "--rpc": self.rpc,
        }
        others |= {"--devices": self.devices} if self.machine is not None else {}
        given = [flag for flag, value in others.items() if value is not None]
        if given:
            one = "--devices" if self.machine is None else "--machine"
            raise InputError(
                f"{one} and {given[0]} contradict each other", hint="give one of them"
            )
        if self.machine is not None:
            from placer.machine.files import load_machine

            return load_machine(self.machine)
        from placer.machine.spec import machine_of_spec

        return machine_of_spec(self.devices or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model: changes to the profile's workload.

    Attributes:
        values: fields of ``Workload`` to change, by name; None leaves one as it is.
        extra_args: further flags for the engine, passed through.
        devices: names of the devices to use, in order; None for all.
        companions: flags of models that are loaded beside it: ``--mmproj``, ``-md``
            and the like.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None
    companions: tuple[str, ...] = ()

    @property
    def asked(self) -> Asked:
        """The same for the resolver."""
        return Asked(
            values=self.values,
            extra_args=self.extra_args,
            devices=self.devices,
            companions=self.companions,
        )
