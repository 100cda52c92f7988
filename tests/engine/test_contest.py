"""The real engine, measured beside itself: slowed on purpose, and as it is.

RPC servers compute fast enough to measure.
"""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from placer.app import Request, Where
from placer.app.contest import FIT, ONE_GPU, Answer, ContestOptions, contest
from placer.app.desk import open_desk
from placer.app.planned import planner_of
from placer.cli.contests import answer_text
from placer.engine.environment import engine_library_env
from placer.measure import Outcome
from placer.plan import Goal
from placer.search.journal import Journal, read_journal
from placer.search.search import launch_args
from placer.testing import RpcDevices, models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from placer.app.contest import Contest

pytestmark = pytest.mark.engine

#: Nothing is quantised, so the CPU computes it in a second.
SHAPE = {"n_layer": 6, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4, "n_head": 8}
REQUEST = Request(values={"ctx": 2048, "batch": 256, "ubatch": 256, "parallel": 1})
BUDGET_S, SHORTER_S = 36.0, 24.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experts in every layer."""
    return models.write_qwen3moe(tmp_path_factory.mktemp("m") / "moe.gguf", **SHAPE)


@pytest.fixture(scope="module")
def servers(bundled: Path) -> Iterator[RpcDevices]:
    """Two devices."""
    with RpcDevices(bundled, [1, 1]) as servers:
        yield servers


#: Of sixty milliseconds the process is stopped for fifty.
STOPPED = """\
stop_and_go() {
  trap 'kill -CONT $$; exit' TERM
  while kill -STOP $$; do sleep 0.05; kill -CONT $$; sleep 0.01; done
}
case "$*" in *"--fit on -fitt"*"-lv 4"*) stop_and_go & ;; esac
"""


def slowed(engine: Path, folder: Path) -> Path:
    """An engine that is made to wait again and again where ``--fit`` places."""
    library = engine_library_env(engine).get("LD_LIBRARY_PATH", "")
    script = folder / "llama-server"
    script.write_text(
        f"#!/bin/sh\nexport LD_LIBRARY_PATH={shlex.quote(library)}\n{STOPPED}"
        f'exec {shlex.quote(str(engine))} "$@"\n'
    )
    script.chmod(0o755)
    return script


def held(where: Where, model: Path, folder: Path, budget_s: float) -> Contest:
    """A contest of the best on one GPU, which so is no rival of its own."""
    options = ContestOptions(budget_s=budget_s, margins_bytes=(0, 0))
    with (
        open_desk(str(model), where, REQUEST) as desk,
        closing(Journal(folder)) as journal,
    ):
        choice = planner_of(desk, options.margins_bytes).best(Goal.DECODE, 0)
        assert choice is not None
        target = desk.target
        args = launch_args(
            str(model),
            target.workload,
            (),
            choice.placement,
            target.shape,
            desk.machine,
        )
        answer = Answer(
            args=args, placement=choice.placement, prompt_tokens_per_s=800.0
        )
        return contest(desk, answer, options, journal, lambda _: None)


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    """What the journal has of a kind."""
    return [r for r in read_journal(folder / "trials.jsonl") if r["kind"] == kind]


def engines() -> list[int]:
    """The llama-servers that this process has started and that still run."""
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.name() == "llama-server"]


def test_who_was_slowed_is_found_slower(
    bundled: Path, servers: RpcDevices, model: Path, tmp_path: Path
) -> None:
    """By what its launches have in common, and it is said who has won."""
    where = Where(server=slowed(bundled, tmp_path), rpc=servers.endpoints)
    folder = tmp_path / "record"
    found = held(where, model, folder, BUDGET_S)
    assert engines() == []
    (one,) = found.standing.comparisons
    assert one.rival == FIT
    assert one.outcome is Outcome.FASTER
    assert one.margin.mid > 1.0
    assert answer_text(found).startswith("placer wins: ")
    assert [e.absent for e in found.entrants if e.name == ONE_GPU] == [
        "the same placement"
    ]
    orders = [record["order"] for record in records(folder, "round")]
    assert all(sorted(order) == [FIT, "placer"] for order in orders)


def test_a_depth_is_read_once_and_then_kept(
    bundled: Path, servers: RpcDevices, model: Path, tmp_path: Path
) -> None:
    """A request at a depth reads what is behind it alone, and writes more slowly."""
    where = Where(server=bundled, rpc=servers.endpoints)
    folder = tmp_path / "record"
    found = held(where, model, folder, SHORTER_S)
    assert records(folder, "contest")[0]["depths"] == [0, 200, 400]
    measured = records(folder, "measured")
    assert {n for record in measured for n in record["read_tokens"]} == {80}
    first = [record for record in measured if record["round"] == 1]
    assert {record["depth"] for record in first} > {0}
    assert records(folder, "contested")[0]["rounds"] == found.standing.rounds
    assert engines() == []
