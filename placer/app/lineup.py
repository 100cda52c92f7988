"""Which profiles are searched one after the other, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placer.app.profiled import State, engine_build, known_profiles
from placer.app.turns import Ended, Turn
from placer.app.variants import BENCH, production_of, variant_id
from placer.app.verified import require_engine
from placer.app.where import Request
from placer.errors import InputError
from placer.profiles import read_conf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.profiled import Known
    from placer.app.where import Where

# Folder of the searches of all profiles.
ALL = "all"
# What a bench variant has in common with its production profile; the context and the
# batches are its own.
SHARED = frozenset("type_k type_v flash_attn swa_full kv_offload op_offload".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A profile that waits for its search.

    Attributes:
        profile: its id.
        request: what is asked of it.
        production: of a bench variant, the profile that it is made of where it is not
            in models.conf.
        is_begun: whether its search had begun when the series was broken off.
        since: the newest search before that; None where there was none.
    """

    profile: str
    request: Request
    production: str | None = None
    is_begun: bool = False
    since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    """Profiles to search one after the other.

    Attributes:
        name: what the record lies under.
        request: what was asked.
        candidates: all that there are, in order.
        skipped: what became of those that need no search.
    """

    name: str
    request: Request
    candidates: tuple[Waiting, ...]
    skipped: tuple[Turn, ...] = field(default=())

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """Those that are to be searched."""
        skipped = {turn.profile for turn in self.skipped}
        return tuple(one for one in self.candidates if one.profile not in skipped)

    def candidate(self, profile: str) -> Waiting:
        """The one of a profile.

        Raises:
            InputError: models.conf has it no more.
        """
        for one in self.candidates:
            if one.profile == profile:
                return one
        raise InputError(
            f"[{profile}] has gone from models.conf",
            hint="start anew without --resume",
        )


def every_profile(where: Where, request: Request, *, again: bool = False) -> Lineup:
    """All profiles of models.conf, less those that need no search or have no model.

    Args:
        where: engine, devices, files.
        request: changes to the workload of each.
        again: whether profiles are searched whose proof holds.

    Raises:
        InputError: there is none whose model is there.
        MachineError: no engine.
    """
    conf = read_conf(where.folders.conf_path)
    require_engine(where)
    known = known_profiles(conf, where.folders, _build(where))
    if all(one.state is State.NO_MODEL for one in known):
        raise InputError(
            "has no profile whose model is there",
            path=conf.path,
            hint="name the models folder with --models-dir",
        )
    again = again or _changes(request)
    reasons = {one.profile.id: _needless(one, where, again=again) for one in known}
    return Lineup(
        name=ALL,
        request=request,
        candidates=tuple(Waiting(profile=name, request=request) for name in reasons),
        skipped=tuple(
            Turn(profile=name, status=Ended.SKIPPED, reason=reason)
            for name, reason in reasons.items()
            if reason is not None
        ),
    )


def _build(where: Where) -> str | None:
    """The build that will be started; of emulated devices it does not matter."""
    if where.emulate is not None:
        return None
    if where.image is None:
        return engine_build(where)
    with where.rig() as rig:
        return rig.engine.build


def _changes(request: Request) -> bool:
    """Whether something else is asked than the profiles say."""
    return request != Request(values=dict.fromkeys(request.values))


def _needless(one: Known, where: Where, *, again: bool) -> str | None:
    """Why a profile is not searched; None where it is."""
    if one.problem is not None:
        return one.problem
    is_emulated = where.emulate is not None
    if again or one.state is not State.PROVED or one.proved is None:
        return None
    if one.proved.emulated != is_emulated:
        return None
    return f"proved {one.proved.day} already; --again searches it"


def both_variants(
    name: str, variants: Sequence[str], where: Where, request: Request
) -> Lineup:
    """The profiles of a model that are named: for work, and for benchmarks.

    Args:
        name: the production profile.
        variants: which of the two.
        where: the files.
        request: of the production profile; the bench variant shares what is not about
            size.

    Raises:
        InputError: there is no such profile, or it is a bench variant itself.
        MachineError: no engine.
    """
    if name.endswith(".gguf"):
        raise InputError(
            f"{name} is no profile", hint="placer new adds one for a model"
        )
    conf = read_conf(where.folders.conf_path)
    production = production_of(name, [profile.id for profile in conf.profiles])
    if production is not None:
        raise InputError(
            f"[{name}] is the bench variant of [{production}]",
            hint=f"run: placer optimize {production} --variants bench",
        )
    profile = conf.profile(name).id
    require_engine(where)
    return Lineup(
        name=profile,
        request=request,
        candidates=tuple(_waiting(profile, one, request) for one in variants),
    )


def _waiting(profile: str, variant: str, request: Request) -> Waiting:
    name = variant_id(profile, variant)
    if variant != BENCH:
        return Waiting(profile=name, request=request)
    shared = {key: value for key, value in request.values.items() if key in SHARED}
    return Waiting(
        profile=name, request=replace(request, values=shared), production=profile
    )
