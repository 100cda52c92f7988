"""Programs that mean harm, on the real bubblewrap: none has an effect outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.sandbox import Ended, Limits
from placer.sandbox.bubblewrap import UNUSED_UIDS
from placer.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from placer.sandbox import Finished, Sandbox

LIMITS = Limits(
    # A busy machine takes its time.
    wall_s=20.0,
    cpu_s=5,
    memory_bytes=128 * MIB,
    processes=16,
    file_bytes=MIB,
    temp_bytes=4 * MIB,
    output_bytes=4 * KIB,
)
BRIEF = replace(LIMITS, wall_s=0.6)
# What is over its limits is ended so soon, and gone.
WITHIN_S = 4.0
GONE_WITHIN_S = 1.0


@pytest.fixture(autouse=True)
def _no_effect(sandbox: Sandbox) -> Iterator[None]:
    """Each leaves no process, and the next program runs as ever."""
    yield
    assert left_behind() == []
    after = sandbox.run("import os; print(os.listdir())", limits=LIMITS)
    assert (after.exit_code, after.output) == (0, "['main.py']\n")


def run(sandbox: Sandbox, program: str, limits: Limits = LIMITS) -> Finished:
    """Run it, and see that it took no longer than it may."""
    began = time.monotonic()
    finished = sandbox.run(program, limits=limits)
    assert time.monotonic() - began < limits.wall_s + WITHIN_S
    return finished


def left_behind() -> list[str]:
    """Processes of sandboxes that are this test's, or nobody's any more."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while found := [str(p) for p in psutil.process_iter() if is_left(p)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def is_left(process: psutil.Process) -> bool:
    """Whether it is of a sandbox whose placer is this process, or is gone."""
    try:
        if not is_inside(process):
            return False
        outer = next(p for p in process.parents() if not is_inside(p))
        return outer.pid in (1, os.getpid())
    except (psutil.Error, StopIteration):
        return False


def is_inside(process: psutil.Process) -> bool:
    """Whether it is bwrap or a program that it runs."""
    of_nobody = process.uids().real in UNUSED_UIDS
    runs_main = process.cmdline()[-1:] == ["main.py"]
    return of_nobody or runs_main or process.name() == "bwrap"


FORKS = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
THREADS = """
import threading, time
n = 1
try:
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        n += 1
except RuntimeError:
    print(n, flush=True)
    import os
    os._exit(0)
"""


def test_fork_bomb(sandbox: Sandbox) -> None:
    """A program that forks for ever is over when its time is."""
    assert run(sandbox, FORKS, BRIEF).ended_by is Ended.TIME


def test_processes_are_counted(sandbox: Sandbox) -> None:
    """A program has so many processes and no more, threads counted."""
    # The stacks of threads take address space.
    limits = Limits(wall_s=20.0, processes=16)
    assert run(sandbox, THREADS, limits).output == "16\n"


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "from signal import *\npthread_sigmask(SIG_BLOCK, range(1, 65))\nwhile 1: pass",
        "import os\nos.close(1); os.close(2)\nwhile True: pass",
    ],
    ids=["computes", "sleeps", "blocks signals", "closes its output"],
)
def test_endless(sandbox: Sandbox, program: str) -> None:
    """A program that does not end is ended, and that is said."""
    finished = run(sandbox, program, BRIEF)
    assert (finished.ended_by, finished.exit_code) == (Ended.TIME, None)


def test_out_of_cpu(sandbox: Sandbox) -> None:
    """A program that computes for too long is ended before its time is over."""
    limits = Limits(wall_s=20.0, cpu_s=1)
    finished = sandbox.run("while True: pass", limits=limits)
    assert finished.ended_by is Ended.TIME
    assert finished.seconds < limits.wall_s / 2


def test_memory_of_one(sandbox: Sandbox) -> None:
    """One process gets no more memory than it may have."""
    program = "try:\n    bytearray(200 << 20)\nexcept MemoryError:\n    print('none')"
    assert run(sandbox, program).output == "none\n"


def test_memory_of_many(sandbox: Sandbox) -> None:
    """Many processes together get no more than one."""
    program = """
import os, time
for _ in range(3):
    os.fork()
kept = bytearray(60 << 20)
time.sleep(60)
"""
    finished = run(sandbox, program)
    assert finished.ended_by is Ended.MEMORY


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])  # noqa: S108 - inside
def test_temporary_files(sandbox: Sandbox, folder: str) -> None:
    """Files are bounded, each and all together."""
    program = f"""
import errno
def fill(name, size):
    try:
        with open({folder!r} + name, "wb", 0) as file:
            written = 0
            while written < size:
                written += file.write(bytes(1 << 16))
    except OSError as error:
        print(errno.errorcode[error.errno])
        return True
fill("/one", 2 << 20)
any(fill(f"/{{n}}", 900 << 10) for n in range(9))
"""
    assert run(sandbox, program).output == "EFBIG\nENOSPC\n"


def test_files_without_end(sandbox: Sandbox) -> None:
    """Empty files count as memory: they take the kernel's."""
    program = "n = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').close(); n += 1"
    limits = Limits(wall_s=20.0, memory_bytes=24 * MIB)
    assert run(sandbox, program, limits).ended_by is Ended.MEMORY


def test_writes_to_the_system(sandbox: Sandbox) -> None:
    """Nothing of the system is written to."""
    folders = "/ /usr /usr/lib /usr/bin /dev /etc /root /proc /home /var/tmp /packages"
    paths = [f"{folder}/of-a-sandbox" for folder in folders.split()]
    program = f"""
for path in {paths}:
    try:
        open(path, "w")
        print(path)
    except OSError:
        pass
"""
    finished = run(sandbox, program)
    assert (finished.output, finished.exit_code) == ("", 0)
    assert [path for path in paths if os.access(path, os.F_OK)] == []


def test_writes_to_its_python(sandbox: Sandbox) -> None:
    """Its Python, which is placer's own, is not written to."""
    program = """
import os, sys
for path in (sys.executable, os.__file__, sys.base_prefix + "/of-a-sandbox"):
    for change in (lambda p: open(p, "ab"), os.unlink, lambda p: os.chmod(p, 0o777)):
        try:
            print(path, change(path))
        except OSError:
            pass
"""
    assert run(sandbox, program).output == ""


def test_files_of_the_user(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the home folder is seen nor the folder that placer runs in."""
    secret = tmp_path / "home" / "secret"
    secret.parent.mkdir()
    secret.write_text("of the user")
    monkeypatch.setenv("HOME", str(secret.parent))
    monkeypatch.chdir(secret.parent)
    program = f"""
import os
for path in ({str(secret)!r}, os.path.expanduser("~/secret"), "secret", "../secret"):
    for how in "r", "w":
        try:
            print(open(path, how).read())
        except OSError:
            print("no")
print(os.getcwd(), os.path.expanduser("~"))
"""
    # One of its own it may make, where it runs and is at home.
    said = run(sandbox, program).output
    assert "of the user" not in said
    assert said.endswith("/tmp /tmp\n")  # noqa: S108 - inside
    assert secret.read_text() == "of the user"


def test_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of placer's is seen, in no process of the sandbox."""
    monkeypatch.setenv("PLACER_TEST_SECRET", "of-the-user")
    program = """
import glob, os
print(dict(os.environ))
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        print(open(path).read())
    except OSError as error:
        print(error)
"""
    finished = run(sandbox, program)
    assert "PYTHONHASHSEED" in finished.output
    assert "of-the-user" not in finished.output


def test_network(sandbox: Sandbox) -> None:
    """A server on this machine's loopback is not reached, nor is any other network."""
    program = """
import os, socket
def attempt(family, kind, where):
    try:
        with socket.socket(family, kind) as one:
            one.settimeout(0.3)
            one.connect(where)
            print("reached", where)
    except OSError as error:
        print("no")
attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT))
attempt(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53))
attempt(socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 53))
attempt(40, socket.SOCK_STREAM, (2, 1))
print(open("/proc/net/route").readlines()[1:], os.path.exists("/sys"))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        said = run(sandbox, program.replace("PORT", str(port))).output
        with pytest.raises(BlockingIOError):
            server.accept()
    assert said == "no\nno\nno\nno\n[] False\n"


@pytest.mark.parametrize(
    "program",
    [
        "os.kill(os.getppid(), 9)",
        "os.kill(1, 9)",
        "os.kill(-1, 9)",
        "os.killpg(0, 9)",
        "os.kill(OUTER, 9)",
    ],
)
def test_kills(sandbox: Sandbox, program: str) -> None:
    """Whatever it kills, placer and all that is outside go on."""
    outer = subprocess.Popen(["sleep", "60"])
    try:
        text = program.replace("OUTER", str(outer.pid))
        finished = run(sandbox, f"import os, time\n{text}\ntime.sleep(0.1)")
        assert finished.ended_by in (Ended.ITSELF, Ended.INTERRUPTED)
        assert outer.poll() is None
    finally:
        outer.kill()
        outer.wait()


@pytest.mark.parametrize(
    "program",
    [
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x')",
        "print('x' * 4097, end='')",
    ],
    ids=["stdout", "stderr", "one byte too much"],
)
def test_flood(sandbox: Sandbox, program: str) -> None:
    """A program that says too much is ended, and what it said is cut."""
    finished = run(sandbox, program)
    assert finished.ended_by is Ended.OUTPUT
    assert finished.exit_code is None
    assert finished.output == "x" * 1000 + "\n" + finished.output[1001:] or (
        finished.output == "x" * LIMITS.output_bytes
    )
    assert len(finished.output) == LIMITS.output_bytes


@pytest.mark.parametrize("keeps_output", [True, False])
def test_left_in_the_background(sandbox: Sandbox, *, keeps_output: bool) -> None:
    """What it leaves running is gone with it, and not waited for."""
    program = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if not {keeps_output}:
            os.closerange(0, 3)
        time.sleep(60)
    os._exit(0)
os.wait()
print("left")
"""
    finished = run(sandbox, program)
    assert (finished.output, finished.ended_by) == ("left\n", Ended.ITSELF)


ATTEMPTS = """
libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
libc.mount(None, b"/usr", None, 32 | 4096, None)
libc.umount2(b"/tmp", 2)
libc.chroot(b"/tmp")
libc.unshare(0x10000000)
libc.setns(0, 0)
libc.setuid(0)
libc.ptrace(16, 1, 0, 0)
libc.ptrace(0, 0, 0, 0)
libc.shmget(0, 1 << 26, 0o1600)
libc.msgget(0, 0o1600)
libc.memfd_create(b"kept", 0)
open("/proc/sys/kernel/hostname", "w").write("x")
open("/proc/sys/vm/overcommit_memory", "w").write("1")
open("/proc/sysrq-trigger", "w").write("c")
os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)); open("/tmp/disk", "rb").read(1)
os.listdir("/sys")
os.listdir("/proc/1/root/var")
libc.sethostname(b"other", 5)
os.nice(-5)
""".strip().splitlines()
# Those that libc has no function for, by their numbers on x86-64.
X86_64 = """
libc.syscall(56, 0x10000011, 0, 0, 0, 0)
libc.syscall(321, 0, 0, 0)
libc.syscall(425, 8, 0)
libc.syscall(0x40000000 + 39)
""".strip().splitlines()


def test_of_the_kernel(sandbox: Sandbox) -> None:
    """The kernel does nothing for it that is root's, or another namespace's."""
    attempts = ATTEMPTS + (X86_64 if os.uname().machine == "x86_64" else [])
    program = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for attempt in {attempts}:
    try:
        code = f"result = {{attempt}}" if attempt.startswith("libc") else attempt
        result = -1
        exec(code)
        if result != -1 or not attempt.startswith("libc"):
            print("done:", attempt)
    except OSError:
        pass
print("tried")
"""
    assert run(sandbox, program).output == "tried\n"


STARTS = """
import signal
# Whoever runs the tests in the background ignores Ctrl-C, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
from placer.sandbox import Limits, find_sandbox
sandbox = find_sandbox("bubblewrap")
text = "import time, os\\nif os.fork(): time.sleep(60)\\nos.setsid(); time.sleep(60)"
print("ready", flush=True)
try:
    sandbox.run(text, limits=Limits(wall_s=60))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_placer_is_ended(number: signal.Signals) -> None:
    """Neither kill -9 of placer nor Ctrl-C leaves a program behind."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True
    ) as placer:
        assert placer.stdout is not None
        assert placer.stdout.readline() == "ready\n"
        of_it: set[psutil.Process] = set()
        deadline = time.monotonic() + 10
        # bwrap, its first process, the program and its child
        while len(of_it) < 4 and time.monotonic() < deadline:
            of_it |= set(psutil.Process(placer.pid).children(recursive=True))
            time.sleep(0.02)
        assert len(of_it) >= 4
        placer.send_signal(number)
        said = placer.communicate(timeout=10)[0]
    assert psutil.wait_procs(of_it, timeout=2)[1] == []
    assert said == ("interrupted\n" if number == signal.SIGINT else "")
