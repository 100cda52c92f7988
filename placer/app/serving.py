"""Serve: a profile's server is started in the background, and waited for."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.desk import open_desk_on
from placer.app.flags import Address, address_of, server_flags
from placer.app.loading import Loaded, NotServedError, load
from placer.app.planned import PlanOptions, plan_on
from placer.app.preflight import NoRoomError, Preflight, preflight, preflight_of
from placer.app.target import Asked, resolve
from placer.engine.binary import Engine
from placer.engine.loadtest import PATIENCE_S
from placer.engine.ports import require_free
from placer.engine.process import free_port
from placer.engine.verdict import Cause
from placer.errors import InputError
from placer.search.search import ATTEMPTS
from placer.serve import ServedDevice, default_state
from placer.serve.alive import end, is_alive
from placer.serve.lock import starting
from placer.serve.start import Launch, start_container, start_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.engine.detached import DetachedProcess
    from placer.serve import Running, StateFolder
    from placer.serve.contained import ContainedProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How a profile is served.

    Attributes:
        host: the address to bind; None for the profile's own, else the loopback.
        port: likewise; 0 for any that is free.
        refit: whether it is placed anew where it does not fit into what is free now.
        margins_mib: MiB to leave free on each device then; one figure is for all.
        force: whether it is started though it does not fit.
        wait: whether the model is to be loaded when this returns.
        patience_s: seconds without any movement after which loading is stalled.
        on_step: told what is being done.
    """

    host: str | None = None
    port: int | None = None
    refit: bool = False
    margins_mib: tuple[int, ...] = (0,)
    force: bool = False
    wait: bool = True
    patience_s: float = PATIENCE_S
    on_step: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """Placement flags of the profile, and those that it is served with instead."""

    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that was started.

    Attributes:
        running: its record.
        preflight: what it needs, and what was free.
        refit: how it is placed, where not as the profile says.
        ready: whether its model is loaded.
        load_s: seconds that took; None where nobody waited.
        notes: what a person should know.
    """

    running: Running
    preflight: Preflight
    refit: Refit | None = None
    ready: bool = False
    load_s: float | None = None
    notes: tuple[str, ...] = ()


def serve(
    name: str,
    where: Where,
    options: ServeOptions | None = None,
    *,
    state: StateFolder | None = None,
) -> Served:
    """Start a profile's server, which goes on when this command has ended.

    Args:
        name: the profile.
        where: engine, devices, files.
        options: how.
        state: where it is put on record; None for the user's own.

    Raises:
        InputError: there is no such profile, or it is served already.
        MachineError: the port is taken, no engine, or it does not come up.
        SearchError: it does not fit into what is free now, or ran out of memory.
    """
    options, state = options or ServeOptions(), state or default_state()
    target = resolve(name, where.folders, Asked())
    if target.profile is None:
        raise InputError(f"{name} is no profile", hint="name one of models.conf")
    with starting(state, name):
        notes = _cleared(name, state)
        address = _free_address(address_of(target, options.host, options.port))
        with _opened(target, where, state, options) as (desk, rig):
            start = _Start(
                target=target,
                address=address,
                desk=desk,
                rig=rig,
                state=state,
                options=options,
            )
            served = start.run()
    return replace(served, notes=(*notes, *served.notes))


def _cleared(name: str, state: StateFolder) -> tuple[str, ...]:
    """Nothing is left of an earlier server; what was, in words.

    Raises:
        InputError: it still runs.
    """
    old = state.server(name)
    if old is not None and is_alive(old):
        raise InputError(
            f"{name} is served already at {old.base_url}",
            hint=f"see placer status, or end it with placer stop {name}",
        )
    if old is None:
        return ()
    state.retire(name)
    return (f"the server before had died: its log is {state.kept_log(name)}",)


def _free_address(wanted: Address) -> Address:
    if wanted.port == 0:
        return replace(wanted, port=free_port())
    require_free(wanted.host, wanted.port)
    return wanted


@contextmanager
def _opened(
    target: Target, where: Where, state: StateFolder, options: ServeOptions
) -> Iterator[tuple[Desk, Rig]]:
    """The profile on its devices; after a failure nothing stays, and nothing runs."""
    options.on_step("asking the engine")
    try:
        with (
            where.rig(target.rpc, folder=state.folder(target.name)) as opened,
            open_desk_on(target, where, opened) as found,
        ):
            yield found
    except BaseException:
        end(target.name, state)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """One start of one profile."""

    target: Target
    address: Address
    desk: Desk
    rig: Rig
    state: StateFolder
    options: ServeOptions

    def run(self) -> Served:
        """Look whether it fits, start it, and wait for it."""
        self.options.on_step("comparing with what is free")
        checked, refit = preflight(self.desk, self.state), None
        if checked.short and self.options.refit:
            refit, checked = self._refitted()
        if checked.short and not self.options.force:
            raise NoRoomError(self.target.name, checked)
        running, loaded = self._up(checked, refit)
        return Served(
            running=running,
            preflight=checked,
            refit=refit,
            ready=loaded is not None,
            load_s=None if loaded is None else loaded.seconds,
            notes=checked.notes,
        )

    def _up(
        self, checked: Preflight, refit: Refit | None
    ) -> tuple[Running, Loaded | None]:
        """Started, and loaded where that is waited for.

        Once more where the engine ended without its last words, which say why.
        """
        for attempt in range(ATTEMPTS):
            running, process = self._started(checked, refit)
            if not self.options.wait:
                return running, None
            try:
                loaded = self._loaded(running, process)
            except NotServedError as error:
                is_cut_off = error.verdict.cause is Cause.CUT_OFF
                if not is_cut_off or attempt == ATTEMPTS - 1:
                    raise
            else:
                return loaded.running, loaded
        raise AssertionError

    def _loaded(
        self, running: Running, process: DetachedProcess | ContainedProcess
    ) -> Loaded:
        return load(
            process,
            running,
            self.target,
            self.rig,
            self.state,
            patience_s=self.options.patience_s,
            on_step=self.options.on_step,
        )

    def _refitted(self) -> tuple[Refit, Preflight]:
        """The fastest placement for what is free now.

        Raises:
            SearchError: nothing fits.
        """
        options = PlanOptions(
            margins_mib=self.options.margins_mib,
            baselines=False,
            on_step=self.options.on_step,
        )
        found = plan_on(self.desk, options)
        best, before = found.candidates[0], self.target.placement_args
        refit = Refit(before=before, after=best.args)
        desk = replace(self.desk, machine=found.machine)
        return refit, preflight_of(best, desk, self.state)

    def _started(
        self, checked: Preflight, refit: Refit | None
    ) -> tuple[Running, DetachedProcess | ContainedProcess]:
        target = self.target
        profile = target.profile
        launch = Launch(
            profile=target.name,
            name=(profile and profile.name) or target.name,
            model=str(target.file.path.absolute()),
            flags=server_flags(target, None if refit is None else refit.after),
            host=self.address.host,
            port=self.address.port,
            base_url=self.address.base_url,
            devices=tuple(
                ServedDevice(
                    name=device.name,
                    description=device.description,
                    total_bytes=device.total_bytes,
                    free_bytes=device.free_bytes,
                    planned_bytes=checked.planned_bytes(device.name),
                )
                for device in self.rig.machine.devices
            ),
            emulated=self.rig.emulated,
            ctx=target.workload.ctx,
            parallel=target.workload.parallel,
        )
        self.options.on_step("starting llama-server")
        engine = self.rig.engine
        if isinstance(engine, Engine):
            return start_process(launch, engine, self.state)
        return start_container(launch, engine, self.state)
