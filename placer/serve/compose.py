"""A profile's server as a file of Docker Compose: the words, and what they rest on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from placer.whole import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILE = "docker-compose.yml"
# Where llama.cpp's own images listen, and what their health is asked of.
PORT = 8080
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside; the port is published as it is asked
# Big models read for minutes, and are not ill meanwhile.
START_PERIOD = "15m"
DEVICES = {
    "nvidia": """\
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: all
              capabilities: [gpu]
""",
    "amd": '    devices: ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]\n',
    "intel": '    devices: ["/dev/dri:/dev/dri"]\n',
    "none": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A folder that the container reads.

    Attributes:
        source: on this machine.
        target: in the container.
    """

    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One server of a compose file.

    Attributes:
        name: the profile's id.
        image: with llama-server as its entrypoint, and curl.
        flags: what follows llama-server, without host and port; files as the
            container sees them.
        volumes: that hold them.
        host: of this machine, on which the port is published.
        port: likewise.
        scheme: ``https`` where the server has a certificate.
        prefix: what stands before each path.
        gpus: ``nvidia``, ``amd``, ``intel`` or ``none``.
    """

    name: str
    image: str
    flags: tuple[str, ...]
    volumes: tuple[Volume, ...]
    host: str = "127.0.0.1"
    port: int = PORT
    scheme: str = "http"
    prefix: str = ""
    gpus: str = "nvidia"


def compose_text(service: Service) -> str:
    """The file: YAML, every string of it as JSON writes it."""
    listens = ("--host", EVERYWHERE, "--port", str(PORT))
    health = f"{service.scheme}://localhost:{PORT}{service.prefix}/health"
    insecure = ["-k"] if service.scheme == "https" else []
    test = ["CMD", "curl", "-f", *insecure, health]
    host = f"[{service.host}]" if ":" in service.host else service.host
    return "".join(
        [
            f"# {MARK} compose {service.name}\n",
            "services:\n",
            f"  {_text(service.name)}:\n",
            f"    image: {_text(service.image)}\n",
            "    command: [\n",
            *(f"      {line},\n" for line in _lines((*service.flags, *listens))),
            "    ]\n",
            "    volumes:\n",
            *(_volume(volume) for volume in service.volumes),
            f"    ports: [{_text(f'{host}:{service.port}:{PORT}')}]\n",
            DEVICES[service.gpus],
            "    healthcheck:\n",
            f"      test: [{', '.join(map(_text, test))}]\n",
            "      interval: 10s\n",
            "      timeout: 5s\n",
            "      retries: 3\n",
            f"      start_period: {START_PERIOD}\n",
            "    restart: unless-stopped\n",
        ]
    )


def _lines(tokens: Sequence[str]) -> Iterator[str]:
    """One flag a line, its values behind it."""
    number = 0

    def flag(token: str) -> int:
        nonlocal number
        number += _is_flag(token)
        return number

    for _, group in groupby(tokens, flag):
        yield ", ".join(map(_text, group))


def _is_flag(token: str) -> bool:
    """Whether it is a flag, and no value such as ``-1``."""
    return token.startswith("-") and not token[1:2].isdigit() and len(token) > 1


def _volume(volume: Volume) -> str:
    return (
        "      - type: bind\n"
        f"        source: {_text(volume.source)}\n"
        f"        target: {_text(volume.target)}\n"
        "        read_only: true\n"
    )


def _text(text: str) -> str:
    """A string; a dollar is Compose's sign for a variable."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
