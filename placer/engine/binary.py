"""The engine: which llama-server, which build, what it lists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from placer.engine.environment import engine_environment
from placer.errors import MachineError
from placer.machine import Device
from placer.units import from_mib

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_VARIABLE = "PLACER_LLAMA_SERVER"
# "Metal" of older builds has no number; other names without one, BLAS, hold nothing.
DEVICE_LINE = re.compile(
    r"^\s+(?P<name>[A-Za-z]+\d+|Metal): (?P<description>.*) "
    r"\((?P<total>\d{1,12}) MiB, (?P<free>\d{1,12}) MiB free\)\s*$"
)
VERSION_LINE = re.compile(r"version: .*", re.MULTILINE)
# "version: 10434 (7e4c0a9)", or a packager's "version: 0.1 (build 1, commit 7e4c0a9)"
BUILD_IN_VERSION = re.compile(
    r"(?:build |version: )(\d+)[, (]+(?:commit )?([0-9a-f]{7,40})"
)
ASK_TIMEOUT_S = 60
ASK_AGAIN_S = 0.5


class AnyEngine(Protocol):
    """A llama-server that answers, a program of this machine or one of an image."""

    @property
    def binary(self) -> Path:
        """What messages name."""

    @property
    def config_home(self) -> Path:
        """An empty folder that stands in for the user's settings."""

    @property
    def rpc(self) -> str | None:
        """Endpoints of ``--rpc``, or None."""

    @property
    def build(self) -> str:
        """What it calls itself."""

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run it with flags that make it answer and end.

        Raises:
            MachineError: it cannot be started or does not end.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A llama-server of this machine and the environment it runs in.

    Attributes:
        binary: the program.
        config_home: an empty folder that stands in for the user's settings.
        variables: added to its environment.
        rpc: endpoints of ``--rpc``, or None.
        build: what it calls itself.
    """

    binary: Path
    config_home: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    rpc: str | None = None
    build: str = "unknown"

    @property
    def image(self) -> str | None:
        """It is of no image."""
        return None

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a launch."""
        return engine_environment(self.binary, self.config_home, self.variables)

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the engine with flags that make it answer and end.

        Raises:
            MachineError: it cannot be started or does not end.
        """
        try:
            return subprocess.run(
                [str(self.binary), *args],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ASK_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise MachineError(
                f"cannot be started: {error.strerror}",
                path=self.binary,
                hint="give a llama-server with --server",
            ) from None
        except subprocess.TimeoutExpired:
            raise MachineError(
                f"did not answer {' '.join(args)} in {ASK_TIMEOUT_S} s",
                path=self.binary,
                hint="look at the driver: nvidia-smi, vulkaninfo",
            ) from None


def find_binary(given: Path | None, bundled: Path | None = None) -> Path:
    """The llama-server to use: given, named by the environment, bundled, or on PATH.

    Args:
        given: ``--server``.
        bundled: an engine to prefer to the one on PATH, for emulated devices.

    Raises:
        MachineError: none is there.
    """
    named = given or _path_or_none(os.environ.get(SERVER_VARIABLE))
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise MachineError(
                "no such program",
                path=named,
                hint=f"give a llama-server with --server or {SERVER_VARIABLE}",
            )
        return Path(found)
    if bundled is not None:
        return bundled
    on_path = shutil.which("llama-server")
    if on_path is None:
        raise MachineError(
            "no llama-server is on PATH",
            hint=f"install llama.cpp or name it with --server or {SERVER_VARIABLE}; "
            "--emulate 400,300 tries placer without a GPU; estimate and plan need "
            "neither with --devices or --machine",
        )
    return Path(on_path)


def identify(engine: AnyEngine) -> str:
    """What the engine calls itself: ``"10434 (7e4c0a9)"``.

    Raises:
        MachineError: it ended by a signal or is no llama-server.
    """
    answer = engine.ask("--version")
    text = answer.stdout + answer.stderr
    version = VERSION_LINE.search(text)
    if answer.returncode != 0 or version is None:
        raise _not_an_engine(engine, answer)
    match = BUILD_IN_VERSION.search(version[0])
    if match is None:
        return version[0].removeprefix("version: ")
    return f"{match[1]} ({match[2]})"


def list_devices(engine: AnyEngine) -> tuple[Device, ...]:
    """The devices as the engine lists them, with what is free now.

    A busy RPC server may not answer in time, and is left out then: it is asked again.

    Raises:
        MachineError: the engine fails or lists none, or an endpoint does not answer.
    """
    rpc = ["--rpc", engine.rpc] if engine.rpc else []
    for is_last in (False, False, True):
        answer = engine.ask(*rpc, "--list-devices")
        if answer.returncode != 0:
            raise _not_an_engine(engine, answer)
        try:
            return parse_devices(answer.stdout, engine.rpc)
        except MachineError:
            if is_last:
                raise
            time.sleep(ASK_AGAIN_S)
    raise AssertionError


def _in_engine_order(devices: list[Device], endpoints: list[str]) -> list[Device]:
    """RPC devices first: the list that the engine makes for itself, llama.cpp:274.

    Raises:
        MachineError: an endpoint did not answer.
    """
    remote = [device for device in devices if device.backend == "RPC"]
    answering = {device.description for device in remote}
    silent = [endpoint for endpoint in endpoints if endpoint not in answering]
    if silent:
        n_answer = len(endpoints) - len(silent)
        raise MachineError(
            f"{len(endpoints)} RPC endpoints are named, {n_answer} answer",
            hint="start an rpc-server at each: " + ", ".join(silent),
        )
    return remote + [device for device in devices if device.backend != "RPC"]


def parse_devices(text: str, rpc: str | None = None) -> tuple[Device, ...]:
    """The devices of the output of ``--list-devices`` (arg.cpp:1139).

    An RPC device's description is the endpoint of its server, and what ``-ot`` calls
    its memory carries that and the device's index inside it.
    """
    endpoints = rpc.split(",") if rpc else []
    inside: Counter[str] = Counter()
    found = []
    for line in text.splitlines():
        match = DEVICE_LINE.match(line)
        if match is None:
            continue
        buffer_type, description = match["name"], match["description"]
        if buffer_type.startswith("RPC") and description in endpoints:
            # The endpoint, and which of its devices: ggml-rpc.cpp:1094 and 2355.
            buffer_type = f"RPC{inside[description]}[{description}]"
            inside[description] += 1
        found.append(
            Device(
                name=match["name"],
                buffer_type=buffer_type,
                description=description,
                total_bytes=from_mib(int(match["total"])),
                free_bytes=from_mib(int(match["free"])),
            )
        )
    return tuple(_in_engine_order(found, endpoints))


def _path_or_none(text: str | None) -> Path | None:
    return Path(text) if text else None


def _not_an_engine(
    engine: AnyEngine, answer: subprocess.CompletedProcess[str]
) -> MachineError:
    last = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
    said = f", it said {last[0].strip()[:120]!r}" if last else ""
    if answer.returncode < 0:
        import signal

        name = signal.Signals(-answer.returncode).name
        hint = "use a build of llama.cpp for this processor"
        return MachineError(f"died with {name}{said}", path=engine.binary, hint=hint)
    return MachineError(
        f"is no llama-server: it exited with {answer.returncode}{said}",
        path=engine.binary,
        hint="give a llama-server with --server",
    )
