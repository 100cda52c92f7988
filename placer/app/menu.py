"""The profiles that can be served, as a menu lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.target import model_path
from placer.errors import InputError
from placer.profiles import read_conf
from placer.serve import default_state
from placer.serve.alive import seems_alive

if TYPE_CHECKING:
    from placer.app.where import Where
    from placer.profiles import Profile
    from placer.serve import StateFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One profile.

    Attributes:
        profile: its id, which is what choosing it gives.
        name: what its NAME says.
        description: what its DESCRIPTION says; may be empty.
        detail: what is known of it, in one line; may be empty.
    """

    profile: str
    name: str
    description: str = ""
    detail: str = ""

    def matches(self, typed: str) -> bool:
        """Whether every word that was typed is somewhere in it, in either case."""
        said = f"{self.profile} {self.name} {self.description} {self.detail}"
        return all(word in said.casefold() for word in typed.casefold().split())


def menu_entries(
    where: Where, state: StateFolder | None = None
) -> tuple[MenuEntry, ...]:
    """All profiles of models.conf, in its order.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    servers = (state or default_state()).servers()
    urls = {one.profile: one.base_url for one in servers if seems_alive(one)}
    return tuple(
        MenuEntry(
            profile=profile.id,
            name=profile.name or profile.id,
            description=profile.description or "",
            detail=_detail(profile, where, urls.get(profile.id)),
        )
        for profile in read_conf(where.folders.conf_path).profiles
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
