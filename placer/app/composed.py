"""``placer compose``: a profile's server for Docker Compose."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from placer.app.flags import HOST, address_of, server_flags
from placer.app.target import Asked, resolve
from placer.errors import InputError
from placer.serve.compose import Service, Volume, compose_text
from placer.whole import write_anew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.target import Target
    from placer.app.where import Where

# Where the models folder is in the container.
MODELS = Path("/models")
LOOPBACK = re.compile(r"(^|,)(127\.|localhost\b|\[::1\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeOptions:
    """How the server is to run.

    Attributes:
        image: with llama-server as its entrypoint; None for ``PLACER_DOCKER_IMAGE``.
        host: on which the port is published: by default this machine alone sees it.
        port: None for the profile's.
        gpus: ``nvidia``, ``amd``, ``intel`` or ``none``.
        out: the file to write; None for none.
        force: whether a file that placer did not write is replaced.
    """

    image: str | None = None
    host: str = HOST
    port: int | None = None
    gpus: str = "nvidia"
    out: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A compose file.

    Attributes:
        service: what it starts.
        text: of the file.
        out: where it was written; None where it was not.
        notes: what a person should know.
    """

    service: Service
    text: str
    out: Path | None
    notes: tuple[str, ...] = ()


def compose(name: str, where: Where, options: ComposeOptions | None = None) -> Composed:
    """A profile's server for Docker Compose; every flag of it is explicit.

    Raises:
        InputError: there is no such profile, no image is named, or the file is
            somebody else's.
    """
    options = options or ComposeOptions()
    image = options.image or where.image
    if image is None:
        raise InputError(
            "no image is named", hint="give --image, or name it in PLACER_DOCKER_IMAGE"
        )
    target = resolve(name, where.folders, Asked())
    beside = Path.cwd() if options.out is None else options.out.absolute().parent
    service, notes = _service(target, where, image, beside)
    address = address_of(target, options.host, options.port)
    service = replace(
        service,
        host=address.host,
        port=address.port,
        scheme=address.scheme,
        prefix=address.prefix,
        gpus=options.gpus,
    )
    text = compose_text(service)
    if options.out is not None:
        write_anew(options.out, text, force=options.force)
    return Composed(service=service, text=text, out=options.out, notes=notes)


def _service(
    target: Target, where: Where, image: str, beside: Path
) -> tuple[Service, tuple[str, ...]]:
    """The server, its files under the container's folders."""
    from placer.engine.docker.files import absolute, named_files

    rpc = ("--rpc", target.rpc) if target.rpc else ()
    flags = (*rpc, *absolute(server_flags(target)))
    models = where.folders.models_path.absolute()
    files = [Path(name) for name in named_files(flags)]
    folders: dict[Path, Path] = {}
    for file in files:
        if file.is_relative_to(models):
            folders[models] = MODELS
        else:
            # What lies elsewhere is at the same place in the container.
            folder = file if file.is_dir() else file.parent
            folders[folder] = folder
    volumes = (
        Volume(source=_source(source, beside), target=str(to))
        for source, to in folders.items()
    )
    service = Service(
        name=target.name,
        image=image,
        flags=tuple(_moved(flag, models) for flag in flags),
        volumes=tuple(volumes),
    )
    return service, tuple(_notes(files, list(folders), target))


def _source(folder: Path, beside: Path) -> str:
    """The folder as the file names it: by its place beside it where it is there."""
    if folder.is_relative_to(beside):
        return f"./{folder.relative_to(beside)}"
    return str(folder)


def _moved(flag: str, models: Path) -> str:
    """A value as the container sees it."""
    start = f"{models}/"
    parts = flag.split(",")
    return ",".join(
        f"{MODELS}/{part.removeprefix(start)}" if part.startswith(start) else part
        for part in parts
    )


def _notes(
    files: Sequence[Path], folders: Sequence[Path], target: Target
) -> Iterator[str]:
    for file in files:
        real = file.resolve()
        if not any(real.is_relative_to(folder.resolve()) for folder in folders):
            yield f"{file.name} is a link to {real}, which the container does not see"
    if target.rpc and LOOPBACK.search(target.rpc):
        yield f"--rpc {target.rpc}: in the container that is the container itself"
