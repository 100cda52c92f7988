from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from placer.app import StudyOptions, Where
from placer.app.setting import open_setting
from placer.app.study import run_study
from placer.app.target import Asked, resolve
from placer.errors import InputError, JournalError, SearchError
from placer.report import written_reports
from placer.report.oom_page import NONE_YET
from placer.testing.fake_engine import fake_engine, launches
from placer.testing.models import write_qwen3moe

if TYPE_CHECKING:
    from pathlib import Path


CONF = """\
[m]
MODEL={model}
CTX_SIZE=512
EXTRA_ARGS=--lora {lora}
"""


def listen(event: object) -> None:
    """Nobody does."""


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with the journal of a real search, for a device with no memory free."""
    path = write_qwen3moe(tmp_path / "my models.gguf")
    conf = tmp_path / "models.conf"
    conf.write_text(CONF.format(model=path, lora=tmp_path / "lora.gguf"))
    engine = fake_engine(tmp_path, devices={"CUDA0": 0})
    where = Where(server=engine, conf=conf, logs=tmp_path / "search_logs")
    target = resolve("m", where.folders, Asked())
    with (
        open_setting(target, where, StudyOptions()) as (setting, _),
        pytest.raises(SearchError),
    ):
        run_study(setting, logs=where.logs, on_event=listen)
    assert not launches(engine)
    return where.logs


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
    assert "| one GPU  | CUDA0  | " in text
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
