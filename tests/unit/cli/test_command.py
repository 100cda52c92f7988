from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from placer.cli.main import cli
from placer.report.limits import limit_sentence
from placer.testing.fake_engine import Fault, fake_engine, launches, running
from placer.testing.models import write_qwen3moe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Desk

ANSI = re.compile(r"\x1b\[")


def is_launched(engine: Path) -> bool:
    """Whether it was told to load a model in earnest."""
    return any(not one.dry_run for one in launches(engine))


def test_optimize_writes_what_it_proved(desk: Desk) -> None:
    """The profile holds the new flags, the old line as a comment, and all the rest."""
    answer = desk.placer("optimize", "moe")
    after = desk.conf.read_text()

    assert (answer.code, answer.err) == (0, "")
    assert "D: experts on the CPU" in answer.out
    assert "Wrote models.conf" in answer.out
    assert "placer: was EXTRA_ARGS=--jinja -b 256 -ub 64 -np 1 -ot exps=CPU" in after
    assert re.search(r"^EXTRA_ARGS=--jinja .*-ts \d,\d .*-ot blk", after, re.MULTILINE)
    assert "# found by hand, do not touch\n" in after
    assert "COLOUR=blue\n" in after


def test_the_answer_is_measured_beside_others(desk: Desk) -> None:
    """A table of who is how fast, and the outcome in words."""
    out = desk.placer("optimize", "moe", "--compare", "--budget", "2s").out
    assert "in the cache" in out
    assert "one GPU" in out
    assert re.search(r"placer wins|wins: placer's|No difference seen|Not compared", out)


def test_each_device_that_could_take_more_was_seen_to_refuse(desk: Desk) -> None:
    """The boundary holds an out-of-memory for either device, where that is asked."""
    answer = desk.placer("optimize", "moe", "--json", "--launch-beyond")
    record = json.loads(answer.out)

    assert record["found"]["verdict"] == "FITS"
    assert {trial["device"] for trial in record["boundary"]} == {"Vulkan0", "Vulkan1"}
    assert all(trial["verdict"].startswith("OOM_") for trial in record["boundary"])
    assert [limit["device"] for limit in record["limits"]] == ["Vulkan0", "Vulkan1"]
    for limit in record["limits"]:
        assert limit["refused_bytes"] > limit["needs_bytes"] + limit["left_bytes"]
    assert answer.err == ""


def test_what_each_device_had_left_is_said_in_a_line(desk: Desk) -> None:
    """As the record has it, beside what would help, below the tables."""
    out = desk.placer("optimize", "moe").out
    (journal,) = desk.folder.glob("search_logs/moe/*/trials.jsonl")
    end = json.loads(journal.read_text().splitlines()[-1])
    lines = out.splitlines()
    below = lines.index(next(x for x in lines if x.startswith("reads one ubatch")))

    assert [limit["device"] for limit in end["limits"]] == ["Vulkan0", "Vulkan1"]
    for limit in end["limits"]:
        assert lines.index(limit_sentence(limit)) > below


def test_a_prediction_stands_beside_what_was_measured(desk: Desk) -> None:
    """For a person, in the line of each launch and in a table; and in the JSON."""
    out = desk.placer("optimize", "moe", "--dry-run").out
    assert re.search(r"FITS .* tokens/s \([\d.,]+ predicted\)  -ngl", out)
    assert re.search(r"^tokens/s +predicted +from +to +measured$", out, re.MULTILINE)
    assert re.search(r"^one user decodes( +[\d.,]+){4}$", out, re.MULTILINE)
    assert re.search(r"^reads one ubatch( +[\d.,]+){4}$", out, re.MULTILINE)

    found = json.loads(desk.placer("optimize", "moe", "--json").out)["found"]
    low, middle, high = found["predicted"]["decode_tokens_per_s"]
    assert low < middle < high
    assert found["predicted"]["depth"] == 64
    assert found["decode_tokens_per_s"] > 0
    assert found["prefill_tokens_per_s"] > 0


def test_a_dry_run_shows_the_change_and_makes_none(desk: Desk) -> None:
    """models.conf is the same, byte for byte; apply then makes the change."""
    before = desk.conf.read_bytes()
    answer = desk.placer("optimize", "moe", "--dry-run")
    same = desk.conf.read_bytes()
    desk.placer("apply", "moe")

    assert answer.code == 0
    assert "Would write models.conf" in answer.out
    assert same == before
    assert desk.conf.read_bytes() != before


def test_undo_takes_back_what_optimize_wrote(desk: Desk) -> None:
    """The bytes are those before; a second undo has nothing to take back."""
    before = desk.conf.read_bytes()
    desk.placer("optimize", "moe", "--quiet")
    first, second = desk.placer("undo"), desk.placer("undo")

    assert (first.code, second.code) == (0, 2)
    assert desk.conf.read_bytes() == before


def test_quiet_prints_the_flags_alone(desk: Desk) -> None:
    """One line, ready for a shell."""
    answer = desk.placer("optimize", "moe", "--quiet", "--dry-run")
    tokens = shlex.split(answer.out)

    assert answer.out.count("\n") == 1
    assert tokens[0] == "-ngl"
    assert "-ts" in tokens


@pytest.mark.parametrize(
    "args",
    [
        ("devices",),
        ("inspect", "models/moe.gguf"),
        ("estimate", "moe"),
        ("plan", "moe"),
    ],
)
def test_json_is_one_document_with_a_schema(desk: Desk, args: tuple[str, ...]) -> None:
    """Every verb prints JSON and nothing else."""
    answer = desk.placer(*args, "--json")

    assert answer.code == 0
    assert json.loads(answer.out)["schema"] == 1


def test_so_is_that_of_what_was_found(desk: Desk) -> None:
    """Of a search, of the pages about it, and of its undoing."""
    for args in (("optimize", "moe"), ("report",), ("undo",)):
        answer = desk.placer(*args, "--json")

        assert answer.code == 0
        assert json.loads(answer.out)["schema"] == 1


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("verb", ["plan", "estimate", "devices", "optimize"])
def test_a_pipe_gets_no_colours_and_flags_in_one_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, verb: str, columns: int
) -> None:
    """No escape sequence; neither a placement nor a sentence is broken over lines."""
    monkeypatch.setenv("COLUMNS", str(columns))
    name = [] if verb == "devices" else ["moe"]
    answer = desk.placer(verb, *name)

    assert answer.code == 0
    assert not ANSI.search(answer.out)
    for line in answer.out.splitlines():
        if "-ngl" in line:
            assert "-ts" in line
        elif not line.startswith((" ", "does not fit", "+", "-")):
            assert line.endswith(".") or len(line) <= columns, line


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("plan", "nope.gguf"), 2, "nope.gguf was not found"),
        (("plan", "nope"), 2, "nope"),
        (("plan", "moe", "-ctk", "q9"), 2, "no cache type"),
        (("plan", "moe", "--emulate", "x"), 2, "no list of MiB"),
        (("devices", "--emulate", "99999999999999"), 2, "1 to 15 figures"),
        (("plan", "moe", "--ctx", "99999999999999999999"), 2, "ctx is"),
        (("estimate", "moe", "-ts", "nan,1"), 2, "-ts"),
        (("estimate", "moe", "-ts", "-3,5"), 2, "-ts"),
        (("estimate", "moe", "-ncmoe", "30000000"), 2, "-ncmoe"),
        (("estimate", "moe", "-sm", "none", "-mg", "5"), 2, "-mg 5 is no device"),
        (("plan", "moe", "--devices", "Vulkan0:1"), 4, "no placement of"),
        (("estimate", "moe", "--devices", "Vulkan0:1:2"), 2, "2 MiB free of 1"),
        (("estimate", "moe", "--devices", "GPU0:9"), 2, "no backend 'GPU'"),
        (("estimate", "moe", "--machine", "nope"), 2, "there are a100-80"),
        (("estimate", "moe", "--machine", "a.toml"), 2, "a.toml: cannot be read"),
        (("estimate", "moe", "--machine", "l40s", "--rpc", "a:1"), 2, "contradict"),
        (("estimate", "moe", "-sm", "row"), 2, "-sm row is not understood"),
        (("estimate", "moe", "--mmproj", "no.gguf"), 2, "no.gguf was not found"),
        (("report", "--logs", "nope"), 2, "no folder of searches"),
        (("apply", "/abs"), 2, "/abs"),
        (("devices", "--server", "/nope/llama-server"), 3, "no such program"),
        (("plan", "moe", "--conf", "/nope.conf"), 2, "/nope.conf"),
        (("apply", "moe"), 2, "placer optimize moe"),
        (("nope",), 2, "No such command"),
        (("inspect",), 2, "MODEL"),
        (("optimize", "moe", "--logs", "/proc/nope"), 5, "/proc/nope"),
        (("optimize", "moe", "--compare", "--budget", "soon"), 2, "20m"),
        (("optimize", "moe", "--compare", "--budget", "12"), 2, "such as 15m"),
        (("optimize", "moe", "--resume"), 2, "leave out --resume"),
    ],
)
def test_bad_input_gets_one_line_and_its_code(
    desk: Desk, args: tuple[str, ...], code: int, says: str
) -> None:
    """No traceback, nothing on standard output, models.conf as it was."""
    before = desk.conf.read_bytes()
    answer = desk.placer(*args)

    assert answer.code == code
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert desk.conf.read_bytes() == before


def test_a_flag_that_the_engine_refuses_is_bad_input(desk: Desk) -> None:
    """The engine's own line is quoted, exit code 2."""
    desk.conf.write_text(desk.conf.read_text().replace("--jinja", "--no-such-flag"))
    answer = desk.placer("optimize", "moe", "--quiet")

    assert answer.code == 2
    assert "invalid argument: --no-such-flag" in answer.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("optimize", "moe", "--arg", "--jinja"), "EXTRA_ARGS of [moe]"),
        (("plan", "models/moe.gguf", "--arg", "-ot", "--arg", "exps=CPU"), "-ot"),
    ],
)
def test_a_further_token_cannot_go_past_the_profile(
    desk: Desk, args: tuple[str, ...], says: str
) -> None:
    """What is proved is what is written: --arg is for bare models, and never ours."""
    answer = desk.placer(*args)

    assert answer.code == 2
    assert says in answer.err


def test_the_profile_that_is_written_is_the_one_that_was_proved(desk: Desk) -> None:
    """Every flag of the workload is in it: estimate of the result says that it fits."""
    asked = ("-nkvo", "--no-op-offload", "--swa-full", "-ctk", "q8_0", "-fa", "on")
    answer = desk.placer("optimize", "moe", "-ctv", "q8_0", *asked)
    after = desk.conf.read_text()
    again = desk.placer("estimate", "moe", "--json")

    assert answer.code == 0
    for flag in ("-nkvo", "--no-op-offload", "--swa-full", "-ctk q8_0", "-ctv q8_0"):
        assert flag in after
    assert json.loads(again.out)["fits"]


def test_the_search_of_another_model_is_not_applied(desk: Desk) -> None:
    """A model that changed since makes the record stale."""
    desk.placer("optimize", "moe", "--dry-run", "--quiet")
    path = desk.folder / "models" / "moe.gguf"
    path.unlink()
    write_qwen3moe(path, n_layer=3)
    answer = desk.placer("apply", "moe")

    assert answer.code == 2
    assert "another model" in answer.err


def test_a_read_only_profile_is_known_before_the_search(desk: Desk) -> None:
    """No launch is spent on an answer that cannot be written."""
    desk.conf.chmod(0o444)
    answer = desk.placer("optimize", "moe")

    assert answer.code == 2
    assert "read-only" in answer.err
    assert launches(desk.engine) == ()


def test_nothing_fits_says_the_nearest_miss(desk: Desk) -> None:
    """Exit code 4, and by how much it missed."""
    small = fake_engine(desk.folder / "models", devices={"Vulkan0": 1, "Vulkan1": 1})
    answer = desk.placer("optimize", "moe", "--server", str(small), "--quiet")

    assert answer.code == 4
    assert "was seen to fit" in answer.err
    assert answer.err.count("\n") == 1


def test_an_engine_for_another_processor_is_named(desk: Desk) -> None:
    """SIGILL is the machine's fault, never memory's: exit code 3."""
    broken = fake_engine(
        desk.folder / "models", devices={"Vulkan0": 40}, fault=Fault.SIGILL_AT_START
    )
    answer = desk.placer("optimize", "moe", "--server", str(broken))

    assert answer.code == 3
    assert "SIGILL" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(
    desk: Desk, number: signal.Signals, heeding: Callable[[], None]
) -> None:
    """Exit code 130, one line, no engine, an end record, models.conf as it was."""
    before = desk.conf.read_bytes()
    slow = fake_engine(
        desk.folder / "models",
        devices={"Vulkan0": 40, "Vulkan1": 30},
        fault=Fault.HANG_AT_PROMPT,
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "placer", "optimize", "moe", "--server", str(slow)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=heeding,  # noqa: PLW1509 - it only sets signals
    )
    until_s = time.monotonic() + 30
    while not is_launched(slow) and time.monotonic() < until_s:
        time.sleep(0.05)
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    journal = next((desk.folder / "search_logs").glob("*/*/trials.jsonl"))
    last = json.loads(journal.read_text().splitlines()[-1])

    assert child.returncode == 130
    assert err.count("\n") == 1
    assert "interrupted" in err
    assert running(slow) == ()
    assert (last["kind"], last["stopped"]) == ("end", "interrupted")
    assert desk.conf.read_bytes() == before


def test_completion_knows_the_profiles(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell is offered what models.conf holds."""
    from click.shell_completion import ShellComplete

    complete = ShellComplete(cli, {}, "placer", "_PLACER_COMPLETE")
    offered = [item.value for item in complete.get_completions(["optimize"], "m")]

    assert offered == ["moe"]
    assert "_placer_completion" in desk.placer("completion", "bash").out


def test_every_verb_has_help_with_an_example() -> None:
    """--help of each verb names the command that one would type."""
    from click.testing import CliRunner

    for name in cli.commands:
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0
        assert re.search(rf"^ +placer {name}", result.output, re.MULTILINE)
