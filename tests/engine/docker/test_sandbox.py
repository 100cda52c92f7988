"""Programs in containers of a Docker daemon that the tests start."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer.engine.docker import remove_orphans
from placer.errors import MachineError
from placer.sandbox import Ended, Limits, find_sandbox
from placer.sandbox.bubblewrap import own_python
from placer.testing.docker import _libraries
from placer.units import KIB, MIB

if TYPE_CHECKING:
    from docker import DockerClient

    from placer.sandbox import Sandbox

pytestmark = pytest.mark.engine

IMAGE = "placer-test/python:local"
LIMITS = Limits(
    wall_s=10.0,
    cpu_s=5,
    memory_bytes=128 * MIB,
    processes=16,
    temp_bytes=4 * MIB,
    output_bytes=4 * KIB,
)
# Four processes; those that are left say that another was killed.
HUNGRY = """
import os, sys
os.fork(), os.fork()
x = b'x' * (60 << 20)
try:
    sys.exit(os.wait()[1] and 1)
except ChildProcessError:
    pass
"""
# Of Python's own library, what no program here asks for.
LEFT_OUT = {"site-packages", "test", "idlelib", "ensurepip", "__pycache__", "tkinter"}


@pytest.fixture(scope="module")
def sandbox(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox of an image with this Python, seen to hold."""
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    write_root(archive)
    repository, _, tag = IMAGE.partition(":")
    client.api.import_image_from_file(
        str(archive), repository=repository, tag=tag, changes=["ENV PATH=/bin"]
    )
    return find_sandbox("docker", image=IMAGE)


def write_root(archive: Path) -> None:
    """The root of an image: this Python, its library and what both need."""
    python = own_python()
    version = python.name
    library = python.parents[1] / "lib" / version

    def chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if LEFT_OUT & set(Path(entry.name).parts) else entry

    with tarfile.open(archive, "w") as root:
        for path in _libraries([python]):
            root.add(path.resolve(), arcname=str(path))
        root.add(python.resolve(), arcname=f"usr/bin/{version}")
        root.add(library, arcname=f"usr/lib/{version}", filter=chosen)
        link = tarfile.TarInfo("bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, f"/usr/bin/{version}"
        root.addfile(link)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        root.addfile(temporary)


def test_exact(sandbox: Sandbox, tmp_path: Path) -> None:
    """What a program says comes back as it said it, with what was handed to it."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "packaged.py").write_text("WORD = 'packaged'\n")
    program = """
import beside, packaged, sys
print(packaged.WORD, beside.WORD, open("bytes", "rb").read(), repr(sys.stdin.read()))
try:
    open(packaged.__file__, "a")
except OSError:
    sys.exit(7)
"""
    files: dict[str, str | bytes] = {
        "beside.py": "WORD = '\N{SNOWMAN}'",
        "bytes": b"\x00\xff",
    }
    finished = sandbox.run(program, limits=LIMITS, files=files, packages=(packages,))
    assert finished.output == "packaged \N{SNOWMAN} b'\\x00\\xff' ''\n"
    assert (finished.exit_code, finished.ended_by) == (7, Ended.ITSELF)


def test_several_at_once(sandbox: Sandbox) -> None:
    """Programs of several threads each say their own."""

    def run(n: int) -> str:
        return sandbox.run(f"print({n})", limits=LIMITS).output

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == ["0\n", "1\n", "2\n"]


@pytest.mark.parametrize(
    ("program", "ended_by"),
    [
        ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "time"),
        ("import os, time\nos.closerange(0, 3)\ntime.sleep(60)", "time"),
        ("while True: print('x' * 1000)", "output"),
        (HUNGRY, "memory"),
    ],
    ids=["fork bomb", "sleeps", "flood", "memory"],
)
def test_limits(sandbox: Sandbox, program: str, ended_by: str) -> None:
    """A program that takes too much is ended, soon, and it is said of what."""
    wall_s = 1.0 if ended_by == "time" else 10.0
    limits = Limits(
        wall_s=wall_s,
        memory_bytes=LIMITS.memory_bytes,
        processes=LIMITS.processes,
        output_bytes=LIMITS.output_bytes,
    )
    finished = sandbox.run(program, limits=limits)
    assert finished.ended_by == ended_by
    assert finished.seconds < wall_s + 4


def test_hostile(sandbox: Sandbox, tmp_path: Path) -> None:
    """It neither reaches a network nor reads or writes what is not its own."""
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    program = f"""
import os, socket
os.kill(1, 9)
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", PORT), 1),
    lambda: socket.socket(type=socket.SOCK_DGRAM).connect(("192.0.2.1", 9)),
    lambda: open({str(secret)!r}).read(),
    lambda: [open(f"{{folder}}/x", "w") for folder in ("/", "/usr", "/dev")],
    lambda: os.setuid(0),
    lambda: open("/tmp/big", "wb").write(bytes(5 << 20)),
):
    try:
        print(attempt())
    except OSError:
        print("no")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finished = sandbox.run(program.replace("PORT", str(port)), limits=LIMITS)
    assert finished.output == "no\n" * 6


def test_placer_is_killed(sandbox: Sandbox, client: DockerClient) -> None:
    """What kill -9 of placer leaves behind goes with the next that uses Docker."""
    program = f"""
from placer.sandbox import Limits, find_sandbox
sandbox = find_sandbox("docker", image={IMAGE!r})
print("ready", flush=True)
sandbox.run("import time; time.sleep(60)", limits=Limits(wall_s=60))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as placer:
        assert placer.stdout is not None
        assert placer.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 10
        while not client.containers.list() and time.monotonic() < deadline:
            time.sleep(0.05)
        placer.send_signal(signal.SIGKILL)
    names = [container.name for container in client.containers.list(all=True)]
    assert len(names) == 1
    assert remove_orphans() == tuple(names)


def test_no_image(client: DockerClient) -> None:
    """An image that is not here is not pulled; it is said how to."""
    with pytest.raises(MachineError, match=r"docker pull placer-test/none:1"):
        find_sandbox("docker", image="placer-test/none:1")
