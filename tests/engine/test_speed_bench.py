"""The real engine's speed: on emulated devices, computed by the CPU."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.app import Where
from placer.app.speed_asking import Users
from placer.app.speed_bench import SpeedBench, bench_speed
from placer.app.speed_chart import write_chart
from placer.app.speed_question import Cell, SpeedOptions, question_of, server_flags
from placer.app.target import Asked, resolve
from placer.app.testbed import open_testbed
from placer.cli import speed_tables
from placer.engine.client import Completion, ServerClient
from placer.search.journal import read_journal
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

#: The output is on a GPU, the CPU does the rest. One cache for all slots is what loses
#: the depth of those who wait.
CONF = """\
[tiny]
MODEL=tiny.gguf
CTX_SIZE=512
N_GPU_LAYERS=1
EXTRA_ARGS=--no-op-offload -b 64 -ub 32 -np 1 -kvu
"""
ASKED = SpeedOptions(
    depths=(0, 96), batches=(32, 64), users=(1, 2), repeats=1, n_prompt=48, n_gen=32
)


@pytest.fixture(scope="module")
def where(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Where:
    """A model that the CPU takes a few ms a token for, and a profile for it."""
    folder = tmp_path_factory.mktemp("speed")
    write_llama(folder / "tiny.gguf", n_layer=6, n_embd=768, n_ff=2048)
    (folder / "models.conf").write_text(CONF)
    return Where(
        server=engine,
        emulate=(64, 64),
        conf=folder / "models.conf",
        models=folder,
        logs=folder / "logs",
    )


@pytest.fixture(scope="module")
def found(where: Where) -> SpeedBench:
    """Two batches, two users, launched once."""
    return bench_speed("tiny", where, ASKED)


class Noting(ServerClient):
    """Keeps what the server says of each answer."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url, read_timeout_s=60)
        self.done: list[Completion] = []

    def complete(self, *args: Any, **kwargs: Any) -> Completion:
        """As it is, and kept."""
        answer = super().complete(*args, **kwargs)
        self.done.append(answer)
        return answer


def test_every_cell_is_measured_in_two_launches(found: SpeedBench) -> None:
    """One for each batch, whatever is asked of it; all figures are there."""
    records = read_journal(found.folder / "trials.jsonl")
    launched = [record for record in records if record["kind"] == "launched"]
    assert sorted(record["batch"] for record in launched) == [32, 64]
    for record in launched:
        args = record["args"]
        assert args[args.index("-b") + 1] == str(record["batch"])
        assert args[args.index("-np") + 1] == "2"
    assert len(list(found.folder.glob("*.log"))) == 2
    assert len(found.rows) == 2 * 2 * 2
    for row in found.rows:
        told = {name for name, mean in row.figures.items() if mean is not None}
        assert told >= {"prefill_tokens_per_s", "decode_tokens_per_s", "ttft_s"}
        assert row.held_bytes is not None
        assert len(row.held_bytes) == 2
        assert row.figures["joules"] is None


def test_users_together_write_more_than_one_of_them_gets(found: SpeedBench) -> None:
    """Two get twice what each gets, as far as they write at the same time."""
    for row in found.rows:
        together, each = (
            row.figures[name]
            for name in ("decode_tokens_per_s", "user_decode_tokens_per_s")
        )
        assert together is not None
        assert each is not None
        ratio = together.mean / each.mean
        assert row.cell.users * 0.5 < ratio < row.cell.users * 1.5


def test_table_json_and_chart(
    found: SpeedBench,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At 80 columns and at 200; that the speed means nothing is said everywhere."""
    chart = tmp_path / "speed.svg"
    for columns in (80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        speed_tables.ended([found], chart=None, as_json=False, quiet=False)
        table, _, words = capsys.readouterr().out.partition("Held at most")
        lines = table.splitlines()[2:]
        assert len(lines) == 1 + len(found.rows)
        assert all(len(line.rstrip()) <= columns for line in lines)
        assert ("each" in lines[0]) is (columns == 200)
        assert "their speed means nothing" in words
    speed_tables.ended([found], chart=None, as_json=True, quiet=False)
    (profile,) = json.loads(capsys.readouterr().out)["profiles"]
    assert profile["emulated"] is True
    assert profile["rows"] == [row.record() for row in found.rows]
    write_chart([found], chart)
    assert chart.read_text().count("depth 96, 2 users") == 2 * 2 * 2
    assert "devices are emulated" in chart.read_text()


def test_nothing_is_read_twice(where: Where, tmp_path: Path) -> None:
    """Who waits while another reads keeps his depth, in a cache that all share too."""
    target = resolve("tiny", where.folders, Asked())
    flags = server_flags(target, ASKED)
    with (
        open_testbed(target, where, what="a test", flags=flags) as bed,
        bed.server(tmp_path / "a.log") as server,
        Noting(server.base_url) as client,
    ):
        question = question_of(bed.target, ASKED)
        n_vocab = bed.target.shape.n_vocab
        users = Users(client=client, question=question, n_vocab=n_vocab)
        users.warm_up()
        client.done.clear()
        users.measure(Cell(depth=96, users=2), server.meter)
        read = [done.prompt_tokens for done in client.done]
        client.done.clear()
        users.measure(Cell(depth=96, users=2), server.meter)
        again = [done.prompt_tokens for done in client.done]
    assert read == [96, 96, 48, 48, 1, 1]
    # The first of a depth that is there already is read again, to have something said.
    assert again == [1, 1, 48, 48, 1, 1]
