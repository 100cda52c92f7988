from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from placer.app.learned import Learned
from placer.app.rig import Rig
from placer.app.study import run_study
from placer.app.target import Target
from placer.engine.binary import Engine
from placer.engine.observation import Proof
from placer.errors import InputError, JournalError, SearchError
from placer.gguf import read_gguf
from placer.ledger import Ledger
from placer.machine import Device, Machine
from placer.model import model_shape
from placer.placement import Workload
from placer.report import written_reports
from placer.report.oom_page import NONE_YET
from placer.testing.models import write_qwen3moe
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess
    from placer.search.events import Event


class IdleRunner:
    """An engine that nobody needs to start, because nothing fits by formula."""

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """A launch would be a mistake."""
        raise AssertionError(f"launched {args} to {log_path}")


def listen(event: Event) -> None:
    """Nobody does."""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with the journal of a real search, for a device with no memory free."""
    path = write_qwen3moe(tmp_path / "my models.gguf")
    file = read_gguf(path)
    device = Device(
        name="CUDA0",
        buffer_type="CUDA0",
        description="a card",
        total_bytes=256 * MIB,
        free_bytes=0,
    )
    machine = Machine(
        devices=(device,), engine_build="b1", host_total_bytes=1, host_free_bytes=1
    )
    rig = Rig(
        engine=Engine(binary=path, config_home=tmp_path, build="b1"),
        machine=machine,
        runner=IdleRunner(),
        watch=None,
    )
    target = Target(
        name="m",
        file=file,
        shape=model_shape(file),
        workload=Workload(ctx=512),
        extra_args=("--lora", str(tmp_path / "lora.gguf")),
    )
    folder = tmp_path / "search_logs"
    with pytest.raises(SearchError):
        run_study(
            target,
            rig,
            logs=folder,
            proof=Proof.FULL,
            on_event=listen,
            learned=Learned(ledger=Ledger(tmp_path / "ledger.jsonl"), entries=()),
        )
    return folder


def journal_of(logs: Path) -> Path:
    """The only journal."""
    (path,) = logs.glob("*/*/trials.jsonl")
    return path


@pytest.mark.parametrize("is_there", [True, False])
def test_no_search_is_no_error(tmp_path: Path, *, is_there: bool) -> None:
    """An empty folder, or none, gives the one page that says so."""
    folder = tmp_path / "search_logs"
    if is_there:
        folder.mkdir()
        (folder / "README.md").write_text("what lies here", encoding="utf-8")
    (path,) = written_reports(folder, tmp_path / "docs")
    assert path == tmp_path / "docs" / "oom-results.md"
    assert NONE_YET in path.read_text(encoding="utf-8")


def test_the_record_of_a_real_search_is_read(logs: Path, tmp_path: Path) -> None:
    """What a search writes is what the documents expect."""
    page, results = written_reports(logs, tmp_path / "docs")
    text = page.read_text(encoding="utf-8")
    assert page == tmp_path / "docs" / "models" / "m.md"
    assert "## No answer" in text
    assert "- model: `my models.gguf`, qwen3moe, " in text
    assert "| experts on the CPU | " in text
    assert "`--lora lora.gguf`" in text
    assert str(tmp_path) not in text
    assert NONE_YET in results.read_text(encoding="utf-8")


def test_deleted_documents_come_back_the_same(logs: Path, tmp_path: Path) -> None:
    """The journals are all that they depend on."""
    docs = tmp_path / "docs"
    before = [path.read_bytes() for path in written_reports(logs, docs)]
    shutil.rmtree(docs)
    assert [path.read_bytes() for path in written_reports(logs, docs)] == before


def test_pages_without_a_study_are_left_alone(logs: Path, tmp_path: Path) -> None:
    """Journals may have been thrown away; what was made of them stays."""
    docs = tmp_path / "docs"
    old = docs / "models" / "old.md"
    old.parent.mkdir(parents=True)
    old.write_text("kept", encoding="utf-8")
    written_reports(logs, docs)
    names = {path.name for path in docs.rglob("*") if path.is_file()}
    assert names == {"old.md", "m.md", "oom-results.md"}
    assert old.read_text(encoding="utf-8") == "kept"


def test_a_torn_last_line_is_passed_over(logs: Path, tmp_path: Path) -> None:
    """A search that was killed while it wrote still has its documents."""
    journal = journal_of(logs)
    whole = written_reports(logs, tmp_path / "docs")[0].read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"kind": "tri')
    torn = written_reports(logs, tmp_path / "docs")[0].read_bytes()
    assert torn == whole


def test_a_damaged_journal_changes_no_document(logs: Path, tmp_path: Path) -> None:
    """The error names the line, and the documents are as they were."""
    docs = tmp_path / "docs"
    before = [path.read_bytes() for path in written_reports(logs, docs)]
    shutil.copytree(journal_of(logs).parent, logs / "z" / "20261123-000000")
    with (logs / "z" / "20261123-000000" / "trials.jsonl").open("ab") as file:
        file.write(b"rubbish\n")
    with pytest.raises(JournalError, match=r"trials\.jsonl:\d+: is no record"):
        written_reports(logs, docs)
    paths = sorted(path for path in docs.rglob("*") if path.is_file())
    assert [path.read_bytes() for path in paths] == before


def test_a_document_that_cannot_be_written_is_an_error(
    logs: Path, tmp_path: Path
) -> None:
    """It names the document, and leaves nothing behind."""
    docs = tmp_path / "docs"
    (docs / "oom-results.md").mkdir(parents=True)
    with pytest.raises(InputError, match=r"oom-results\.md: cannot be written: "):
        written_reports(logs, docs)
    assert not list(docs.glob(".*"))
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(InputError, match=r"m\.md: cannot be written: "):
        written_reports(logs, in_the_way)


def test_a_document_keeps_the_permissions_of_its_folder(
    logs: Path, tmp_path: Path
) -> None:
    """It can be read by whoever can read any new file."""
    new = tmp_path / "new"
    new.touch()
    for path in written_reports(logs, tmp_path / "docs"):
        assert path.stat().st_mode == new.stat().st_mode
