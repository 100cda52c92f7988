"""The real engine under a smoke test: the same twice, and what was planted in it.

An RPC server computes fast enough to be timed. The model's other half is on the CPU,
which far too many threads make slow.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import pytest

from placer.app import Where
from placer.app.compared import Kind, Tolerance
from placer.app.smoke import smoke_profile
from placer.app.smoke_pair import smoke_pair
from placer.app.smoke_question import SmokeOptions
from placer.app.verified import Status
from placer.engine.environment import engine_library_env
from placer.report.engine_page import written_engines
from placer.search.journal import FILE_NAME, read_journal
from placer.testing import RpcDevices, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.app.smoke import Smoke

    Plant = Callable[..., Path]

pytestmark = pytest.mark.engine

CONF = """\
[dense]
MODEL=dense.gguf
CTX_SIZE=256
N_GPU_LAYERS=3
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 -t 1 --no-op-offload --rpc {endpoints}

[wordy]
MODEL=dense.gguf
CTX_SIZE=1024
N_GPU_LAYERS=3
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 -t 1 --no-op-offload --rpc {endpoints}
"""
#: A machine that others use too slows one launch in three by a third.
LOOSE = Tolerance(share=0.6, memory_bytes=MIB)
SMOKE = SmokeOptions(problems=0, requests=2, tolerance=LOOSE)
SLOWER = ("-t", "64")
HUNGRIER = ("-c", "8192")
WRONG = ("--rope-freq-base", "100")
ATTEMPTS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model, the profile and the records lie."""
    folder = tmp_path_factory.mktemp("smoke")
    sizes = {"n_layer": 5, "n_embd": 512, "n_ff": 1536, "n_vocab": 8192}
    models.write_llama(folder / "dense.gguf", **sizes)
    return folder


@pytest.fixture(scope="module")
def plant(bundled: Path, folder: Path) -> Plant:
    """Makes engines that launch with further flags behind those that they are given."""
    library = engine_library_env(bundled).get("LD_LIBRARY_PATH", "")

    def planted(name: str, *flags: str) -> Path:
        script = folder / name
        script.write_text(
            f"#!/bin/sh\nexport LD_LIBRARY_PATH={shlex.quote(library)}\n"
            f'case "$*" in *"--fit off"*) set -- "$@" {shlex.join(flags)};; esac\n'
            f'exec {shlex.quote(str(bundled))} "$@"\n'
        )
        script.chmod(0o755)
        return script

    return planted


@pytest.fixture(scope="module")
def where(bundled: Path, folder: Path) -> Iterator[Where]:
    """The profile on one device."""
    with RpcDevices(bundled, [1]) as servers:
        conf = folder / "models.conf"
        conf.write_text(CONF.format(endpoints=servers.endpoints))
        yield Where(
            server=bundled, conf=conf, models=folder, logs=folder / "search_logs"
        )


def asked(ask: Callable[[], Smoke]) -> Smoke:
    """Asked again where the RPC server was busy with its last client."""
    for _ in range(ATTEMPTS):
        found = ask()
        if "RPC endpoints" not in (found.reason or ""):
            break
        time.sleep(1)
    return found


def in_turn(where: Where, first: Path, second: Path, rounds: int = 1) -> Smoke:
    """Two engines."""
    options = SmokeOptions(
        problems=0, requests=2, rounds=rounds, tolerance=LOOSE, seed=1
    )
    return asked(lambda: smoke_pair("dense", (first, second), where, options))


def alone(where: Where, engine: Path) -> Smoke:
    """One engine, held to the record."""
    under = Where(server=engine, conf=where.conf, models=where.models, logs=where.logs)
    return asked(lambda: smoke_profile("dense", under, SMOKE))


def worse(found: Smoke) -> set[str]:
    """What is worse."""
    assert found.figures, found.reason
    return {figure.name for figure in found.figures if figure.kind is Kind.WORSE}


def n_launches(found: Smoke) -> int:
    """How often it was launched."""
    assert found.folder is not None
    records = read_journal(found.folder / FILE_NAME)
    return sum(record["kind"] == "launched" for record in records)


def test_later_ones_are_held_to_the_first(where: Where, plant: Plant) -> None:
    """The same again is quiet; each planted fault is named, and is no record itself."""
    first = alone(where, plant("plain"))
    assert (first.status, first.code) == (Status.NO_RECORD, 0)
    again = alone(where, plant("plain"))
    assert (again.code, worse(again)) == (0, set())
    assert again.recorded == first.folder
    memory = [f for f in again.figures if f.name == "memory_bytes"]
    assert all(f.recorded == f.now and f.now for f in memory)

    slower = alone(where, plant("slower", *SLOWER))
    assert slower.code == 4
    assert "decode_tokens_per_s" in worse(slower)
    assert worse(slower) <= {"decode_tokens_per_s", "prompt_tokens_per_s"}
    assert n_launches(slower) == 2
    assert worse(alone(where, plant("hungrier", *HUNGRIER))) == {"memory_bytes"}
    wrong = alone(where, plant("wrong", *WRONG))
    assert (wrong.code, worse(wrong)) == (4, {"divergence_nats"})
    assert wrong.recorded == again.folder


def test_the_same_engine_answers_the_same(where: Where) -> None:
    """Greedily, word for word; what it writes is graded where it can do no harm."""
    options = SmokeOptions(problems=1, max_tokens=8, requests=1, tolerance=LOOSE)
    asked(lambda: smoke_profile("wordy", where, options))
    found = asked(lambda: smoke_profile("wordy", where, options))
    figures = {f.name: [f.recorded, f.now] for f in found.figures}
    assert figures["same_answers"] == [1, 1]
    # Where no sandbox works there is no such figure.
    assert figures.get("passed", [0, 0]) == [0, 0]


def test_two_that_are_the_same_are_quiet(where: Where, plant: Plant) -> None:
    """What they hold and expect is equal to the bit; speed alarms once in twenty."""
    for _ in range(2):
        found = in_turn(where, plant("plain"), plant("other"), rounds=2)
        kinds = {f.name: f.kind for f in found.figures}
        assert {kinds["memory_bytes"], kinds["divergence_nats"]} == {Kind.SAME}
        (nats,) = (f.now for f in found.figures if f.name == "divergence_nats")
        assert nats == 0
        if found.code == 0:
            break
    assert found.code == 0
    assert found.old is not None
    assert found.new is not None
    assert (found.old.file, found.new.file) == ("plain", "other")
    assert found.old.name == found.new.name


def test_one_that_is_slower_is_told(where: Where, plant: Plant) -> None:
    """By an interval over the rounds; it holds and expects what the other does."""
    found = in_turn(where, plant("plain"), plant("slower", *SLOWER), rounds=4)
    assert found.code == 4
    assert "decode_tokens_per_s" in worse(found)
    assert not worse(found) & {"memory_bytes", "divergence_nats"}


@pytest.mark.parametrize(
    ("flags", "name"), [(HUNGRIER, "memory_bytes"), (WRONG, "divergence_nats")]
)
def test_one_round_tells_memory_and_words(
    where: Where, plant: Plant, flags: tuple[str, ...], name: str
) -> None:
    """They do not spread; of speed a single round says nothing."""
    found = in_turn(where, plant("plain"), plant("planted", *flags))
    assert (found.code, worse(found)) == (4, {name})
    speeds = [f.kind for f in found.figures if f.name == "decode_tokens_per_s"]
    assert speeds == [None]


def test_one_that_does_not_come_up_has_regressed(where: Where, plant: Plant) -> None:
    """Where the other did; in its own words."""
    found = in_turn(where, plant("plain"), plant("gone", "--gone"))
    assert (found.status, found.code) == (Status.FAILED, 4)
    assert "--gone" in (found.reason or "")


def test_the_page_says_what_changed(where: Where, tmp_path: Path) -> None:
    """Of all that was tested before, with a link to each record that is there."""
    path = written_engines(where.logs, tmp_path)
    assert path is not None
    text = path.read_text()
    assert "plain" in text
    assert "in turn" in text
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert links
    assert all((path.parent / link).is_file() for link in links)
