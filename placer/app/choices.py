"""The profiles that can be served, as a menu lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.target import model_path
from placer.errors import InputError
from placer.profiles import read_conf
from placer.serve import default_state

if TYPE_CHECKING:
    from placer.app.where import Where
    from placer.profiles import Profile
    from placer.serve import StateFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One profile: what it is called, what it is for, and what is known of it."""

    profile: str
    name: str
    description: str
    detail: str


def choices(where: Where, state: StateFolder | None = None) -> tuple[Choice, ...]:
    """All profiles of models.conf, in its order.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    state = state or default_state()
    served = {running.profile: running.base_url for running in state.servers()}
    conf = read_conf(where.folders.conf_path)
    return tuple(
        Choice(
            profile=profile.id,
            name=profile.name or profile.id,
            description=profile.description or "",
            detail=_detail(profile, where, served.get(profile.id)),
        )
        for profile in conf.profiles
    )


def _detail(profile: Profile, where: Where, url: str | None) -> str:
    """Where it runs, or what keeps it from running, or what it is."""
    if url is not None:
        return f"served at {url}"
    if profile.model is None:
        return "has no MODEL"
    try:
        model_path(profile.model, where.folders)
    except InputError:
        return f"{profile.model} is not here"
    context = f"{profile.ctx_size:,} tokens" if profile.ctx_size else "its own context"
    return ", ".join(filter(None, [context, profile.speed, profile.model]))
