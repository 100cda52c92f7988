"""The real engine, swept: temperatures and cache types, on a tiny model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.app import Request, Where
from placer.app.sweep import sweep
from placer.app.sweep_question import SweepOptions
from placer.cli import sweeps
from placer.experiment.verdict import Verdict
from placer.search.journal import FILE_NAME, read_journal
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

    from placer.app.sweep_result import Swept

pytestmark = pytest.mark.engine

#: Tokens whose cache no device of the test holds.
TOO_LONG = 1 << 22
CONF = """\
[tiny]
MODEL=tiny.gguf
CTX_SIZE=512
EXTRA_ARGS=-b 64 -ub 32 -np 1
"""
OPTIONS = SweepOptions(
    vary=("temp=0.6,0.8,1.0", "kv=f16,q8_0", f"c=512,{TOO_LONG}"),
    measure="tokens/s,vram",
    repeats=2,
    prompt_tokens=8,
    tokens=2,
)


@pytest.fixture(scope="module")
def swept(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Three temperatures and two types that run, and one that nobody can launch."""
    folder = tmp_path_factory.mktemp("sweep")
    write_llama(folder / "tiny.gguf", n_layer=2)
    conf = folder / "models.conf"
    conf.write_text(CONF)
    where = Where(
        server=engine,
        emulate=(200, 100),
        conf=conf,
        models=folder,
        logs=folder / "logs",
    )
    return sweep("tiny", where, Request(), OPTIONS)


def test_the_server_starts_once_for_a_type_and_a_repeat(swept: Swept) -> None:
    """A log of its own each, and temperatures are asked of the one that is up."""
    records = read_journal(swept.folder / FILE_NAME)
    launched = [record for record in records if record["kind"] == "launched"]
    assert len(launched) == 2 * 2
    logs = {path.name for path in swept.folder.glob("*.log")}
    assert logs == {f"{record['number']:03d}.log" for record in launched}
    runs = [record for record in records if record["kind"] == "run"]
    assert len(runs) == 6 * 2
    assert {tuple(one["args"]).count("-ctk") for one in launched} == {1}
    assert records[-1]["kind"] == "end"
    assert records[-1]["stopped"] is None


def test_bytes_are_a_fact(swept: Swept) -> None:
    """A narrower cache holds less, as it does each time; no interval is needed."""
    verdicts = {(one.factor, one.measure.name): one for one in swept.found.contrasts}
    held = verdicts["kv", "vram"]
    assert held.verdict is Verdict.BETTER
    assert held.low == held.high < 0
    assert swept.found.best["vram"]["kv"] == "q8_0"
    others = swept.found.cells[0].others
    assert sum(others.values()) == pytest.approx(
        swept.found.cells[0].figures["vram"].mean
    )


def test_a_temperature_is_no_faster(swept: Swept) -> None:
    """That no difference is seen is an answer."""
    found = [one for one in swept.found.contrasts if one.factor == "temp"]
    assert [one.measure.name for one in found] == ["tokens/s", "tokens/s"]
    assert {one.units for one in found} == {4}


def test_what_does_not_fit_is_said(swept: Swept) -> None:
    """And the rest goes on."""
    assert [cell["c"] for cell, _ in swept.unfit] == [str(TOO_LONG)] * 2
    assert all(why for _, why in swept.unfit)


def test_it_ends_with_table_chart_and_verdict(
    swept: Swept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a cell, a line a contrast, a recommendation a measure."""
    drawn = sweeps.draw(swept, tmp_path / "sweep.svg")
    assert [path.name for path in drawn] == ["sweep.svg", "sweep-vram.svg"]
    assert all(path.read_text().startswith("<svg ") for path in drawn)
    sweeps.swept(swept, drawn, as_json=False, quiet=False)
    said = capsys.readouterr().out
    assert "kv=q8_0 beside f16: vram -" in said
    assert "By vram: take temp=0.8 kv=q8_0 c=512" in said
    assert said.count("does not run: ") == 2
