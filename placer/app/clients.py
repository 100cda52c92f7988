"""Clients: where a profile's server answers, and what each tool has to be told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.flags import address_of, alias_of, api_key_of
from placer.app.target import Asked, resolve
from placer.clients import TOOLS, Endpoint, Setting, setting_of
from placer.engine.chat import Answer, ask_chat, ask_messages, served_models
from placer.errors import InputError
from placer.serve import default_state
from placer.serve.alive import seems_alive
from placer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.app.target import Target
    from placer.app.where import Where
    from placer.serve import Running, StateFolder

SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """A profile's server, as tools have to be told.

    Attributes:
        profile: whose server it is.
        endpoint: where it answers.
        settings: one a tool that was asked for.
        is_running: whether it is on record as running.
        key: what it asks for, None for nothing; never to be printed.
        notes: what a person should know.
    """

    profile: str
    endpoint: Endpoint
    settings: tuple[Setting, ...]
    is_running: bool
    key: str | None = None
    notes: tuple[str, ...] = ()


def clients(
    name: str | None,
    where: Where,
    *,
    tool: str | None = None,
    url: str | None = None,
    state: StateFolder | None = None,
) -> Clients:
    """What tools have to be told of a profile's server.

    Args:
        name: the profile; None for the only one that is served.
        where: the files.
        tool: the only tool that is asked for; None for all.
        url: where it answers; None for where it runs, else for where the profile says.
        state: where servers are on record; None for the user's own.

    Raises:
        InputError: no such profile or tool, or it is not clear which is meant.
    """
    running = _running(name, state or default_state())
    profile = name or (None if running is None else running.profile)
    if profile is None:
        raise InputError("name a profile", hint="no server is on record as running")
    target = resolve(profile, where.folders, Asked())
    if target.profile is None:
        raise InputError(f"{profile} is no profile", hint="name one of models.conf")
    key = api_key_of(target.profile.extra_args)
    base_url = _base_url(target, running, url)
    is_asked = url is not None or running is not None
    endpoint = Endpoint(
        base_url=base_url,
        model=named_model(target, served_models(base_url, key) if is_asked else ()),
        title=target.profile.name or profile,
        context=_context(target),
        is_keyed=key is not None,
    )
    tools = list(TOOLS) if tool is None else [tool]
    return Clients(
        profile=profile,
        endpoint=endpoint,
        settings=tuple(setting_of(one, endpoint) for one in tools),
        is_running=running is not None,
        key=key,
        notes=_notes(target, endpoint),
    )


def check(found: Clients) -> tuple[Answer, ...]:
    """What the server answers to one chat in each of the two ways that tools have."""
    url, model = found.endpoint.base_url, found.endpoint.model
    return (ask_chat(url, model, found.key), ask_messages(url, model, found.key))


def write_setting(setting: Setting, out: Path, *, force: bool = False) -> list[Path]:
    """Write a tool's files; those that were written.

    Args:
        setting: the tool's.
        out: the file, or a folder for a tool that reads several.
        force: whether a file that says something else is replaced.

    Raises:
        InputError: one is there already, or cannot be written.
    """
    if len(setting.files) > 1 and not out.is_dir():
        names = ", ".join(file.name for file in setting.files)
        raise InputError(
            f"{setting.title} reads {len(setting.files)} files, {names}",
            path=out,
            hint="give a folder that is there with --out",
        )
    paths = {
        (out / file.name if out.is_dir() else out): file.text for file in setting.files
    }
    for path, text in paths.items():
        if not force and path.exists() and _read(path) != text:
            raise InputError(
                "is there already, and says something else",
                path=path,
                hint="give another file, or replace it with --force",
            )
    for path, text in paths.items():
        write_whole(path, text)
    return list(paths)


def _read(path: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return None


def _running(name: str | None, state: StateFolder) -> Running | None:
    """The server that is meant; None where it does not run.

    Raises:
        InputError: several run, and none is named.
    """
    if name is not None:
        one = state.server(name)
        return one if one is not None and seems_alive(one) else None
    alive = [one for one in state.servers() if seems_alive(one)]
    if len(alive) > 1:
        names = ", ".join(one.profile for one in alive)
        raise InputError("name a profile", hint=f"{names} are served")
    return alive[0] if alive else None


def _base_url(target: Target, running: Running | None, url: str | None) -> str:
    """Without a final slash, and without the ``/v1`` that a person may have typed."""
    if url is not None:
        if "://" not in url:
            raise InputError(f"{url!r} is no address", hint="write http://HOST:PORT")
        return url.rstrip("/").removesuffix("/v1")
    if running is not None:
        return running.base_url
    return address_of(target, None, None).base_url


def named_model(target: Target, served: Sequence[str]) -> str:
    """What the server calls the model; of a router's many, the profile's.

    placer serves a profile under its id where it has no alias; without either a server
    calls its only model by the path of its file, and takes any other name for it too.
    """
    own = alias_of(target) or target.name
    for name in (own, target.name):
        if name in served:
            return name
    return next((name for name in served if not name.endswith(SUFFIX)), own)


def _context(target: Target) -> int:
    """Tokens of one request: no slot has more than the model was trained for."""
    asked = target.workload.slot_ctx
    return min(asked, target.shape.context_length or asked)


def _notes(target: Target, endpoint: Endpoint) -> tuple[str, ...]:
    if not endpoint.is_keyed or target.profile is None:
        return ()
    line = target.profile.lines.get("EXTRA_ARGS")
    note = (
        f"the server asks for a key, that of [{target.name}], line {line} of "
        f"{target.profile.path}: put it where it says {endpoint.key}"
    )
    return (note,)
