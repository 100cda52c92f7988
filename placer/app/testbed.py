"""A model on the devices that are here, to be measured: launched as often as asked."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from placer.app.desk import open_desk_on
from placer.app.planned import PlanOptions, plan_on
from placer.app.rated import rated_flags
from placer.app.standing import own_placement
from placer.app.study import study_header
from placer.app.target import PLACEMENT_FLAGS, WORKLOAD_FLAGS, Asked, workload_of
from placer.engine.advice import advice
from placer.engine.loadtest import PATIENCE_S
from placer.engine.meter import Meter
from placer.engine.observation import Proof
from placer.engine.upright import NotUprightError, Upright, upright
from placer.engine.verdict import Outcome, verdict_text
from placer.errors import InputError, MachineError, PlacerError, SearchError
from placer.machine.lock import locked
from placer.placement.arguments import flag_values, read_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where

AS_IT_STANDS, PLANNED = "as models.conf has it", "planned for it"


class NotMeasuredError(PlacerError):
    """A server that was to be measured did not come up, or fell.

    Args:
        name: the profile.
        error: why.
    """

    def __init__(self, name: str, error: NotUprightError) -> None:
        verdict = error.verdict
        advised = advice(verdict)
        hint = f"its log is {error.log_path}"
        super().__init__(
            f"llama-server of {name} does not run: {verdict_text(verdict)}",
            hint=hint if advised is None else f"{advised}; {hint}",
        )
        self.verdict = verdict
        outcome = verdict.outcome
        is_short = outcome.is_oom or outcome is Outcome.HOST_MEMORY
        self.exit_code = (SearchError if is_short else MachineError).exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under measurement.

    Attributes:
        name: the profile.
        up: the server.
        meter: what the devices hold and draw meanwhile.
    """

    name: str
    up: Upright
    meter: Meter

    @property
    def base_url(self) -> str:
        """Where it answers, without a final slash."""
        return self.up.base_url

    def require(self) -> None:
        """Check that it still runs, after a request that failed.

        Raises:
            NotMeasuredError: it has ended.
        """
        error = self.up.fallen()
        if error is not None:
            raise NotMeasuredError(self.name, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Testbed:
    """A model, its devices, and where everything goes.

    Attributes:
        desk: the target on the machine that is here.
        rig: the engine and the devices.
        placement: flags that place it.
        placed: whose placement that is, in words.
        changed: flags that were asked for behind the profile's own.
    """

    desk: Desk
    rig: Rig
    placement: tuple[str, ...]
    placed: str
    changed: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        """The model and what is asked of it."""
        return self.desk.target

    @property
    def args(self) -> tuple[str, ...]:
        """All flags of a launch, those of the address, --fit and the log left out."""
        target = self.target
        asked = ("-m", str(target.file.path), *target.workload.args())
        return (*asked, *target.extra_args, *self.placement)

    def header(self) -> dict[str, Any]:
        """What its records begin with: what is launched, and on what."""
        return {
            **study_header(self.target, self.rig, Proof.LOAD),
            "placement": list(self.placement),
            "placed": self.placed,
            "changed": list(self.changed),
        }

    def under(self, tokens: Sequence[str]) -> Testbed:
        """The same with flags behind its own, placed anew where it does not fit so.

        Raises:
            InputError: flags that the engine would refuse.
            SearchError: nothing fits so.
        """
        if not tokens:
            return self
        desk = replace(self.desk, target=with_flags(self.target, tokens), heard=[])
        moved = _spelt(tokens, lambda name: name in PLACEMENT_FLAGS)
        own = self.placement if self.placed == AS_IT_STANDS else None
        try:
            placement, placed = _placed(desk, own)
        finally:
            desk.remember()
        return replace(
            self,
            desk=desk,
            placement=(*placement, *moved),
            placed=placed,
            changed=(*self.changed, *tokens),
        )

    @contextmanager
    def server(
        self,
        log_path: Path,
        *,
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Iterator[Server]:
        """It, launched and loaded; ended with the block.

        Args:
            log_path: where its output goes; the folder is made.
            patience_s: seconds without a sign of loading after which it is stalled.
            on_wait: called some twenty times a second while it loads.

        Raises:
            NotMeasuredError: it did not come up.
            MachineError: the engine cannot be started.
        """
        log_path.parent.mkdir(parents=True, exist_ok=True)
        launch = upright(
            self.rig.runner,
            self.args,
            log_path=log_path,
            patience_s=patience_s,
            on_wait=on_wait,
        )
        try:
            with launch as up, self._meter(up) as meter:
                yield Server(name=self.target.name, up=up, meter=meter)
        except NotUprightError as error:
            raise NotMeasuredError(self.target.name, error) from None

    def _meter(self, up: Upright) -> Meter:
        devices, watch = self.rig.machine.devices, self.rig.watch
        return Meter(devices=devices, pid=up.process.pid, watch=watch)


@contextmanager
def open_testbed(
    target: Target, where: Where, *, what: str, flags: Sequence[str] = ()
) -> Iterator[Testbed]:
    """The target on the devices that are here, which nobody else's search uses.

    Where the profile says no placement, or it does not fit, the best is planned and
    confirmed by dry run; nothing is written.

    Args:
        target: a profile's or a model's.
        where: engine, devices, files.
        what: the command, for whoever wants the devices meanwhile.
        flags: of llama-server, behind the target's own.

    Raises:
        InputError: flags that the engine would refuse.
        MachineError: no engine, no device, or another search is using one.
        SearchError: nothing fits.
    """
    with (
        where.rig(target.rpc) as opened,
        open_desk_on(target, where, opened) as (desk, rig),
        locked(rig.machine, what, owner=rig.owner),
    ):
        placement, placed = _placed(desk, _own(target))
        bed = Testbed(desk=desk, rig=rig, placement=placement, placed=placed)
        yield bed.under(flags)


def with_flags(target: Target, tokens: Sequence[str]) -> Target:
    """The target with flags behind its own: the last of a kind counts.

    Raises:
        InputError: flags that the engine would refuse.
    """
    before = (*target.workload.args(), *target.extra_args)
    said = flag_values(read_tokens((*before, *tokens)))
    flags = {name: said[name] for name in said.keys() - PLACEMENT_FLAGS}
    beside = _spelt(tokens, lambda name: name not in WORKLOAD_FLAGS | PLACEMENT_FLAGS)
    return replace(
        target,
        workload=workload_of(flags, target.shape, Asked()),
        extra_args=(*target.extra_args, *beside),
    )


def _spelt(
    tokens: Sequence[str], is_wanted: Callable[[str | None], bool]
) -> tuple[str, ...]:
    """The tokens of those flags whose names are wanted; others by their None."""
    found: list[str] = []
    for argument in read_tokens(tokens):
        if not is_wanted(argument.name):
            continue
        if (
            argument.option is not None
            and argument.value is not None
            and (argument.option.takes_value)
        ):
            found += [argument.option.name, argument.value]
        else:
            found.append(argument.text)
    return tuple(found)


def _own(target: Target) -> tuple[str, ...] | None:
    """The placement of models.conf; None where it leaves that to somebody else."""
    try:
        return own_placement(target)
    except InputError:
        return None


def _placed(desk: Desk, own: tuple[str, ...] | None) -> tuple[tuple[str, ...], str]:
    """The placement that is there, where it fits; else the best."""
    # What is not known of it the launch will tell.
    if own is not None and min(rated_flags(own, desk).headroom_bytes) >= 0:
        return own, AS_IT_STANDS
    found = plan_on(desk, PlanOptions(baselines=False))
    return found.candidates[0].args, PLANNED
