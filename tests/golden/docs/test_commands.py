"""Every command that the documents show is one, and does what they show.

All are parsed. Those that need no engine are run, in a folder that holds what they
name, and print what the page shows but for times. Every other is listed, with the
reason.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from placer.cli.main import cli, run
from placer.cli.manual import examples
from placer.testing.accuracy.models import big_models
from placer.testing.models import write_qwen3moe
from placer.testing.phantom import write_phantom
from placer.testing.phantom_shapes import PHANTOMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Line = tuple[str, list[list[str]], tuple[str, ...] | None]

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.name
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if path.name not in {"cli.md", "accuracy.md", "oom-results.md", "planner-vs-fit.md"}
)
# Run from its first line to its last by test_getting_started.py.
NEWCOMER = "getting-started.md"
DEMO_LOGS = "--logs .demo/search_logs"
VARIED = (
    "--vary temp=0.6,0.8,1.0 --vary ctk=q8_0,q5_0,q4_0 --measure pass@1,tokens/s,vram"
)
NOT_RUN: dict[str, tuple[str, ...]] = {
    "launches a big model on the reader's GPUs": (
        "placer optimize glm-q8 --ctx 131072 -b 4096",
        "placer optimize glm-q8",
        "placer optimize --all --budget 10m",
        "placer optimize model.gguf --ctx 65536 -b 2048",
    ),
    "asks an engine for the reader's GPUs": (
        "placer devices",
        "placer plan model.gguf --ctx 65536",
        "placer plan glm-q8 --ctx 131072 -b 4096",
        "placer plan gpt-oss-120b --for balanced --margin 256,512 --plot plan.svg",
        "placer presets --out models.ini",
    ),
    "scripts/demo runs it, and prints this": (
        "placer devices --emulate 80,60",
        f"placer optimize smollm2 --emulate 80,60 --launch-beyond {DEMO_LOGS}",
        "placer plan tiny-moe --emulate 68,43 --no-tradeoffs",
        f"placer optimize tiny-moe --emulate 68,43 --launch-beyond {DEMO_LOGS}",
        f"placer report {DEMO_LOGS} --docs .demo/docs",
        "placer profiles",
        "placer serve smollm2 --emulate 80,60 --port 0 --no-dashboard",
        "placer stop smollm2",
        (
            "placer bench quality smollm2 --limit 3 --max-tokens 128 "
            f"--emulate 80,60 {DEMO_LOGS}"
        ),
    ),
    "needs a Docker daemon; tests/engine/docker has the same on emulated GPUs": (
        "placer devices --docker llama-server-cuda",
        "placer optimize glm-q8 --docker llama-server-cuda",
        "placer serve glm-q8 --docker llama-server-cuda",
        "placer stop glm-q8",
    ),
    "minutes of launches; tests/engine has the same on tiny models": (
        "placer tune moe --budget 20 --vary ub=32,128 --only --no-quality",
        "placer verify moe",
        "placer verify --all",
        "placer serve moe --emulate 60,60",
        "placer serve moe --emulate 30,60",
        "placer status",
        "placer stop",
        "placer clients --check",
    ),
    "hours of answers and launches; tests/engine has the same on small models": (
        (
            "placer verify glm-q8 --suite smoke --server old/llama-server "
            "--server new/llama-server"
        ),
        "placer bench quality glm-q8",
        "placer bench quality glm-q8 oss-120b --suite humaneval+ --max-tokens 8192",
        "placer bench quality glm-q8 --samples 10 --temp 0.8 --top-p 0.95 -k 1,10",
        "placer bench quality glm-q8 --resume",
        "placer bench speed glm-q8",
        "placer bench speed glm-q8 --depth 0,16384 --batch 512,2048 --chart speed.svg",
        "placer bench speed glm-q8 oss-120b --users 1,2,4",
        f"placer sweep glm-q8 {VARIED} --chart sweep.svg",
        "placer sweep glm-q8 --experiment kv-types --text wiki.test.raw",
    ),
    "models.conf has it already; the newcomer's path has the same verb": (
        "placer new glm-q8 GLM-4.7-Flash-Q8_0.gguf",
    ),
}
# What needs no engine: a described machine, and verbs that only read or write files.
OFFLINE_FLAGS = {"--machine", "--devices", "--list"}
OFFLINE_VERBS = {
    *("clients", "completion", "compose", "inspect", "judge", "ledger", "report"),
    "bench reference",
}
DOES_NOT_FIT = 4
# Of a picture, whose width is that of the terminal.
BAR = re.compile(r"[█▓▒░·!]+")
TIME = re.compile(r"\d+\.\d+ s\b")
ELIDED = "..."


def without_comment(line: str) -> str:
    """The command alone."""
    return re.sub(r"\s+#.*$", "", line)


def is_run(page: str, line: str) -> bool:
    """Whether it is run here."""
    listed = (other for others in NOT_RUN.values() for other in others)
    return page != NEWCOMER and without_comment(line) not in set(listed)


def is_offline(argv: Sequence[str]) -> bool:
    """Whether it cannot but leave every engine alone."""
    verbs = {argv[0], " ".join(argv[:2])}
    return not OFFLINE_VERBS.isdisjoint(verbs) or not OFFLINE_FLAGS.isdisjoint(argv)


def parse(argv: Sequence[str]) -> click.Context:
    """The arguments as click understands them, without running the verb.

    Raises:
        click.UsageError: there is no such verb or option, or a value is none.
    """
    command, rest = command_of(argv)
    if isinstance(command, click.Group):
        raise click.UsageError(f"no verb: {shlex.join(argv)}")
    return command.make_context(shlex.join(argv), rest)


def command_of(argv: Sequence[str]) -> tuple[click.Command, list[str]]:
    """The verb, of a group of verbs the inner one, and what is left for it."""
    command: click.Command = cli
    rest = list(argv)
    while rest and isinstance(command, click.Group) and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    return command, rest


def flags_of(argv: Sequence[str]) -> set[str]:
    """Every spelling of every option of the verb."""
    command, _ = command_of(argv)
    options = (p for p in command.params if isinstance(p, click.Option))
    return {name for p in options for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_parses(
    page: str, shown: Callable[[str], list[Line]]
) -> None:
    """Each verb, option and value that a session shows is one that placer knows."""
    for _, commands, _ in shown(page):
        for argv in commands:
            parse(argv)


@pytest.mark.parametrize("line", examples(cli))
def test_every_example_of_the_help_parses(line: str) -> None:
    """What ``--help`` shows can be typed."""
    _, _, command = line.rpartition("| ")
    argv = shlex.split(re.split(r"\s(?:>>|>|2>&1|#)", command)[0])
    parse(argv[1:])


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_and_flag_of_a_sentence_is_one(
    page: str, mentioned: Callable[[str], list[str]]
) -> None:
    """``placer VERB --flag`` within a sentence names what there is."""
    for span in mentioned(page):
        verb, *words = span.split()[1:]
        assert verb in cli.commands, f"{page}: {span}"
        named = {w.strip("[]") for w in words if w.startswith(("-", "[-")) and w != "-"}
        unknown = named - flags_of([verb, *words]) - {"--help"}
        assert not unknown, f"{page}: {span}"


@pytest.mark.parametrize("page", PAGES)
def test_every_script_of_a_page_is_there(page: str) -> None:
    """``scripts/NAME`` can be run."""
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for name in re.findall(r"\bscripts/[a-z-]+(?![\w./-])", path.read_text()):
        assert os.access(ROOT / name, os.X_OK), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run_or_listed(
    page: str, shown: Callable[[str], list[Line]]
) -> None:
    """One that would ask an engine has a reason, or is on the newcomer's path."""
    for line, commands, _ in shown(page):
        for argv in commands if is_run(page, line) else ():
            assert is_offline(argv), f"{page}: {line}: list it under NOT_RUN"


def test_what_is_not_run_is_in_a_page(shown: Callable[[str], list[Line]]) -> None:
    """No reason outlives the command that it excuses."""
    lines = {without_comment(line) for page in PAGES for line, _, _ in shown(page)}
    listed = {line for others in NOT_RUN.values() for line in others}
    assert listed <= lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands name: profiles, stand-ins for models, a machine, a log."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "models").mkdir()
    for name in PHANTOMS:
        write_phantom(name, folder / "models")
    name = "gpt-oss-120b-F16.gguf"
    (folder / name).symlink_to(folder / "models" / name)
    write_qwen3moe(folder / "model.gguf")
    next(m for m in big_models() if m.name == "Llama-3.1-70B").write(
        folder / "Llama-3.1-70B.gguf"
    )
    machines = ROOT / "placer" / "machine" / "machines"
    shutil.copy(machines / "desktop-4090-5070-ti.toml", folder / "my-desktop.toml")
    logs = ROOT / "tests" / "golden" / "logs"
    shutil.copy(logs / "pasted" / "cuda-b5177-weights.log", folder / "server.log")
    shutil.copy(ROOT / "models.conf", folder)
    shutil.copytree(ROOT / "search_logs", folder / "search_logs")
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_shows(
    page: str,
    folder: Path,
    shown: Callable[[str], list[Line]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each command that needs nothing of the reader's is run, and its lines are met."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    for line, commands, output in shown(page):
        for argv in commands if is_run(page, line) else ():
            if not is_offline(argv):
                continue
            code = run(argv)
            said = capsys.readouterr()
            fits = "Does not fit" not in said.out
            assert code == (0 if fits else DOES_NOT_FIT), (line, said.err)
            if output is not None:
                meets(output, said.out, line)


def meets(expected: Sequence[str], printed: str, line: str) -> None:
    """The lines come in this order, without a gap but where one is marked."""
    found = list(plain_lines(printed.splitlines()))
    at, may_skip = 0, False
    for text in plain_lines(expected):
        if text == ELIDED:
            may_skip = True
            continue
        end = len(found) if may_skip else at + 1
        assert text in found[at:end], f"{line}\nshows {text!r}\nprints {found[at:end]}"
        at, may_skip = found.index(text, at) + 1, False
    rest = [] if may_skip else [text for text in found[at:] if text]
    assert not rest, f"{line}\nprints more: {rest}"


def plain_lines(lines: Sequence[str]) -> Iterator[str]:
    """Without bars, times and what only aligns; blank lines left out."""
    for line in lines:
        text = " ".join(TIME.sub("T s", BAR.sub(" ", line)).split())
        if text:
            yield text
