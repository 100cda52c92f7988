"""Programs that mean no harm: what they say comes back as they said it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.errors import InputError, MachineError
from placer.sandbox import Ended, Finished, Limits, find_sandbox
from placer.sandbox.syscalls import syscall_filter

if TYPE_CHECKING:
    from placer.sandbox import Sandbox
    from placer.sandbox.bubblewrap import Bubblewrap

LIMITS = Limits(wall_s=20.0)
DEBIAN_PYTHON = Path("/usr/bin/python3.11")


@given(
    said=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")),
    code=st.integers(0, 125),
)
@settings(max_examples=8)
def test_exact(sandbox: Sandbox, said: str, code: int) -> None:
    """Any text and exit code come back exactly."""
    program = f"import sys\nprint({said!r}, end='')\nsys.exit({code})"
    finished = sandbox.run(program, limits=LIMITS)
    assert (finished.output, finished.exit_code) == (said, code)
    assert finished.ended_by is Ended.ITSELF
    assert 0 < finished.seconds < LIMITS.wall_s


def test_both_outputs(sandbox: Sandbox) -> None:
    """What goes to stdout and to stderr is one text, in the order of saying."""
    program = """
import sys
for n in range(3):
    print(n)
    print("error", n, file=sys.stderr)
raise ValueError("the end")
"""
    finished = sandbox.run(program, limits=LIMITS)
    assert finished.exit_code == 1
    assert finished.output.startswith("0\nerror 0\n1\nerror 1\n2\nerror 2\nTraceback")
    assert finished.output.endswith("ValueError: the end\n")


def test_signal(sandbox: Sandbox) -> None:
    """A program that a signal ended has a shell's exit code for it."""
    finished = sandbox.run("import os; os.abort()", limits=LIMITS)
    assert finished.exit_code == 128 + 6


def test_no_program(sandbox: Sandbox) -> None:
    """What is no Python fails as it does in a Python, lone surrogates too."""
    for program in ("def", "'\ud800'"):
        finished = sandbox.run(program, limits=LIMITS)
        assert finished.exit_code == 1
        assert "SyntaxError" in finished.output


def test_input_is_empty(sandbox: Sandbox) -> None:
    """A program that reads its input finds the end of it."""
    finished = sandbox.run("import sys; print(repr(sys.stdin.read()))", limits=LIMITS)
    assert finished.output == "''\n"


def test_large_program(sandbox: Sandbox) -> None:
    """A program may be larger than a pipe, and say as much as it may."""
    program = f"text = {'x' * 3_000_000!r}\nprint(text[:65535])"
    finished = sandbox.run(program, limits=LIMITS)
    assert (finished.exit_code, len(finished.output)) == (0, 65_536)


def test_files_and_packages(sandbox: Sandbox, tmp_path: Path) -> None:
    """Files stand beside it byte for byte, packages are imported and not written to."""
    package = tmp_path / "site-packages" / "told"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WORD = 'packaged'\n")
    program = """
import beside, os, told
print(told.WORD, beside.WORD, open("bytes", "rb").read())
for write in (lambda: open("bytes", "wb"), lambda: open(told.__file__, "a")):
    try:
        write()
    except OSError as error:
        print("no")
"""
    finished = sandbox.run(
        program,
        limits=LIMITS,
        packages=(package.parent,),
        files={"beside.py": "WORD = 'é'", "bytes": b"\x00\xff\n"},
    )
    assert finished.output == "packaged é b'\\x00\\xff\\n'\nno\nno\n"
    assert [path.name for path in package.iterdir()] == ["__init__.py"]


def test_placers_packages_are_not_its(sandbox: Sandbox) -> None:
    """What is installed beside placer is not imported unless it is handed over."""
    finished = sandbox.run("import placer", limits=LIMITS)
    assert "No module named 'placer'" in finished.output


@pytest.mark.parametrize("name", ["../up", "/abs", "in/side", "main.py", "", ".", ".."])
def test_names_of_files(sandbox: Sandbox, name: str) -> None:
    """A file's name is a name, and not the program's."""
    with pytest.raises(InputError, match="cannot stand beside"):
        sandbox.run("pass", limits=LIMITS, files={name: ""})


def test_several_at_once(sandbox: Sandbox) -> None:
    """Programs of several threads do not meet, nor take what the others may."""
    program = """
import os, time
open("/tmp/mine", "x").write("N")
children = [os.fork() or time.sleep(0.4) or os._exit(0) for _ in range(5)]
print(open("/tmp/mine").read(), sorted(os.listdir("/tmp")))
"""
    limits = Limits(wall_s=20.0, processes=8)
    finished: dict[int, Finished] = {}

    def run(n: int) -> None:
        text = program.replace("N", str(n))
        finished[n] = sandbox.run(text, limits=limits)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = {n: one.output for n, one in finished.items()}
    assert said == {n: f"{n} ['main.py', 'mine']\n" for n in range(6)}


def test_nobody_is_root(sandbox: Sandbox) -> None:
    """As whoever placer runs, a program has no right of root's."""
    program = "import os; print(os.getuid() != 0, os.getgid() != 0, os.getgroups())"
    finished = sandbox.run(program, limits=LIMITS)
    assert finished.output.startswith("True True")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
@pytest.mark.skipif(not DEBIAN_PYTHON.exists(), reason="needs a Python for all")
def test_of_a_user(sandbox: Sandbox) -> None:
    """Somebody who is not root gets a sandbox too, and it holds."""
    import psutil

    program = """
import sys
sys.path[:0] = sys.argv[1:]
from placer.sandbox import Limits, find_sandbox
text = '''
import os
n = 0
try:
    while True:
        if os.fork() == 0:
            os.pause() if hasattr(os, "pause") else __import__("time").sleep(60)
        n += 1
except OSError:
    print(n)
'''
sandbox = find_sandbox("bubblewrap")
print(sandbox.run(text, limits=Limits(wall_s=20, processes=8)).output, end="")
"""
    import placer

    folders = [str(Path(str(one.__file__)).parents[1]) for one in (placer, psutil)]
    ran = subprocess.run(
        [str(DEBIAN_PYTHON), "-B", "-c", program, *folders],
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("7\n", "")


def test_none_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing works it is said what to install, and nothing runs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(MachineError) as caught:
        find_sandbox()
    said = str(caught.value)
    assert caught.value.exit_code == 3
    assert "apt-get install bubblewrap" in said
    assert "docker pull python:3.12-slim" in said
    for wanted, words in (
        ("bubblewrap", "apt-get install bubblewrap"),
        ("docker", "no Docker daemon is at"),
    ):
        with pytest.raises(MachineError, match=words):
            find_sandbox(wanted)


def test_one_that_does_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bwrap that makes no sandbox is refused with its own words."""
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.0 && exit\n'
        "echo 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(MachineError, match="No permissions to create new namespace"):
        find_sandbox("bubblewrap")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("flags.remove('--unshare-net')", "it reaches this machine's loopback"),
        (
            "at = flags.index('--chdir') - 2; flags[at:at] = bound",
            "it sees the home folder",
        ),
        ("flags.remove('--unshare-pid')", "it sees other processes"),
    ],
)
def test_one_that_leaks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Bubblewrap,
    change: str,
    words: str,
) -> None:
    """A sandbox with a hole is found out before a program is trusted to it."""
    home = tmp_path / "home"
    home.mkdir()
    folders = [str(folder) for folder in reversed(home.parents[:-1])]
    bound = [word for folder in folders for word in ("--dir", folder)]
    bound += ["--ro-bind", str(home), str(home)]
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        f"#!{sys.executable}\nimport os, sys\nflags = sys.argv[1:]\n"
        f"bound = {bound}\nif len(flags) > 1:\n    {change}\n"
        f"os.execv({sandbox.program!r}, ['bwrap', *flags])\n"
    )
    bwrap.chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(MachineError, match=words):
        find_sandbox("bubblewrap")


def test_unknown() -> None:
    """A sandbox that there is not is the user's mistake, whatever is installed."""
    with pytest.raises(InputError, match="no sandbox 'podman'"):
        find_sandbox("podman")


def test_filter_is_of_known_machines() -> None:
    """The filter is whole instructions, and there is none where numbers are unknown."""
    for machine in ("x86_64", "aarch64"):
        steps = syscall_filter(machine)
        assert steps is not None
        assert len(steps) % 8 == 0
    assert syscall_filter("riscv64") is None
    assert sys.byteorder == "little"
