"""All flags of a profile's server, as models.conf has them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from placer.app.target import PLACEMENT_FLAGS
from placer.errors import InputError
from placer.placement import whole_number
from placer.profiles import read_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.target import Target
    from placer.profiles import Profile

# Flags with a value that serve gives itself.
OWN = frozenset("--host --port -lv --verbosity --log-verbosity".split())
# What a dashboard asks for, and what a verdict is told by.
ADDED = ("--metrics", "-lv", "4")
ALIASES = ("--alias", "-a")
HOST, PORT = "127.0.0.1", 8080
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens, and how it is reached from here.

    Attributes:
        host: the address that it binds.
        port: likewise.
        scheme: ``https`` where the profile has a certificate.
        prefix: what the profile puts before each path, without a final slash.
    """

    host: str
    port: int
    scheme: str = "http"
    prefix: str = ""

    @property
    def base_url(self) -> str:
        """Where it answers on this host, without a final slash."""
        host = EVERYWHERE.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def server_flags(
    target: Target, placement: Sequence[str] | None = None
) -> tuple[str, ...]:
    """What follows ``llama-server``, without ``--rpc``, host and port.

    Args:
        target: a profile's; every flag of it is there, those that are not placer's
            too.
        placement: flags to place it by instead of its own.
    """
    tokens: list[str] = []
    for argument in read_arguments(_profile_of(target)):
        is_placing = argument.name in PLACEMENT_FLAGS
        if argument.name != "--rpc" and not (placement and is_placing):
            tokens += argument.text.split()
    model = ("-m", str(target.file.path.absolute()))
    placed = ("-fit", "off", *placement) if placement else ()
    named = () if alias_of(target) else ("--alias", target.name)
    return (*model, *_without_own(tokens), *placed, *named, *ADDED)


def address_of(target: Target, host: str | None, port: int | None) -> Address:
    """Where the profile's server is to listen: as asked, else as the profile says.

    Raises:
        InputError: the profile's port is no number, or its host a socket's file.
    """
    said = said_values(_profile_of(target).extra_args)
    at = host or said.get("--host") or HOST
    if at.endswith(".sock"):
        raise InputError(
            f"[{target.name}] listens on a file, {at}", hint="give --host 127.0.0.1"
        )
    wanted = whole_number("--port", said.get("--port", str(PORT)))
    return Address(
        host=at,
        port=wanted if port is None else port,
        scheme="https" if "--ssl-cert-file" in said else "http",
        prefix=said.get("--api-prefix", "").rstrip("/"),
    )


def _profile_of(target: Target) -> Profile:
    if target.profile is None:
        raise InputError(f"{target.name} is no profile", hint="name one of models.conf")
    return target.profile


def said_values(tokens: Sequence[str]) -> dict[str, str]:
    """Each token with the one behind it; the last of a flag wins."""
    return dict(pairwise(tokens))


def alias_of(target: Target) -> str | None:
    """What the profile calls its model; None where it does not."""
    said = said_values(_profile_of(target).extra_args)
    return next((said[flag].split(",")[0] for flag in ALIASES if flag in said), None)


def api_key_of(tokens: Sequence[str]) -> str | None:
    """The first key that a server with these flags takes; None where it asks for none.

    Empty where it lies in a file that cannot be read here.
    """
    said = said_values(tokens)
    if "--api-key" in said:
        return said["--api-key"].partition(",")[0]
    if "--api-key-file" not in said:
        return None
    with suppress(OSError, UnicodeDecodeError):
        lines = Path(said["--api-key-file"]).read_text(encoding="utf-8").splitlines()
        return next((line.strip() for line in lines if line.strip()), "")
    return ""


def _without_own(tokens: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skips = False
    for token in tokens:
        if not skips and token not in OWN:
            kept.append(token)
        skips = not skips and token in OWN
    return kept
