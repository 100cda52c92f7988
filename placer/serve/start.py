"""A server is started and put on record before it can do anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from placer.engine.detached import start_gated
from placer.serve.running import Running
from placer.serve.state import LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.binary import Engine
    from placer.engine.detached import DetachedProcess
    from placer.engine.docker import ContainerEngine
    from placer.serve.contained import ContainedProcess
    from placer.serve.running import ServedDevice
    from placer.serve.state import StateFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to be started.

    Attributes:
        profile: its id.
        name: what a menu shows.
        model: the model's file.
        flags: what follows the engine, without ``--rpc``, host and port.
        host: the address to bind.
        port: likewise.
        base_url: where it will answer.
        devices: in the engine's order.
        emulated: whether they are not real.
        ctx: tokens of context, all slots together.
        parallel: slots.
    """

    profile: str
    name: str
    model: str
    flags: Sequence[str]
    host: str
    port: int
    base_url: str
    devices: tuple[ServedDevice, ...]
    emulated: bool
    ctx: int
    parallel: int

    def record(self, engine: str, state: StateFolder) -> Running:
        """The record of it, as far as it is known before it is started."""
        return Running(
            profile=self.profile,
            name=self.name,
            model=self.model,
            base_url=self.base_url,
            argv=(),
            log=state.folder(self.profile).absolute() / LOG,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            engine=engine,
            devices=self.devices,
            emulated=self.emulated,
            ctx=self.ctx,
            parallel=self.parallel,
        )


def start_process(
    launch: Launch, engine: Engine, state: StateFolder
) -> tuple[Running, DetachedProcess]:
    """A process of this host, which is on record before it becomes the engine.

    Raises:
        MachineError: it cannot be started.
    """
    record = launch.record(engine.build, state)
    rpc = ("--rpc", engine.rpc) if engine.rpc else ()
    where = ("--host", launch.host, "--port", str(launch.port))
    argv = (str(engine.binary), *rpc, *launch.flags, *where)
    gated = start_gated(
        argv, engine.environment, base_url=launch.base_url, log_path=record.log
    )
    process = gated.process
    running = replace(record, argv=argv, pid=process.pid, pid_created=process.created)
    try:
        state.keep(running)
        gated.open()
    finally:
        gated.close()
    return running, process


def start_container(
    launch: Launch, engine: ContainerEngine, state: StateFolder
) -> tuple[Running, ContainedProcess]:
    """A container, on record at once.

    One whose starter is killed in between is found by its profile's folder, in which
    its settings are.

    Raises:
        MachineError: it cannot be started.
    """
    from placer.engine.docker import serve_container
    from placer.serve.contained import ContainedProcess

    record = launch.record(engine.build, state)
    # What another one said would be taken for the beginning of what this one says.
    record.log.unlink(missing_ok=True)
    container = serve_container(
        engine,
        launch.flags,
        profile=launch.profile,
        config_home=engine.config_home,
        port=launch.port,
        host=launch.host,
    )
    process = ContainedProcess(
        container=container, base_url=launch.base_url, log_path=record.log
    )
    running = replace(
        record,
        argv=container.argv,
        pid=container.pid,
        container=container.id,
        image=container.image,
    )
    try:
        state.keep(running)
    except BaseException:
        process.stop()
        raise
    return running, process
