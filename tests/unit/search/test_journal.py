"""The record of a search on disk."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError, JournalError
from placer.search.journal import FILE_NAME, SCHEMA, Journal, read_journal
from placer.search.records import latest_proved, read_study, study_folders

if TYPE_CHECKING:
    from pathlib import Path


def test_records_are_lines_in_order(tmp_path: Path) -> None:
    """One JSON object a line, its kind first; another writer adds to the end."""
    folder = tmp_path / "deep" / "er"
    for text in ("a", "ä\n"):
        journal = Journal(folder)
        journal.append("study", {"text": text})
        journal.close()
    lines = (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "study", "text": "a"},
        {"kind": "study", "text": "ä\n"},
    ]
    assert lines[0].startswith('{"kind": "study"')


def test_a_record_is_on_disk_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, flushed and synced before the next launch."""
    sizes: list[int] = []
    journal = Journal(tmp_path)
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size)
    )
    journal.append("launching", {"number": 1})
    journal.close()
    assert sizes == [journal.path.stat().st_size]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    """The error has the path and names --logs."""
    (tmp_path / "logs").write_text("")
    with pytest.raises(JournalError, match="cannot be written") as error:
        Journal(tmp_path / "logs" / "profile")
    assert "--logs" in str(error.value)


def test_logs_lie_beside_the_journal(tmp_path: Path) -> None:
    """One file a launch."""
    journal = Journal(tmp_path)
    assert journal.log_path("007") == tmp_path / "007.log"
    journal.close()


def test_an_unreadable_journal_is_an_error(tmp_path: Path) -> None:
    """A missing file is told with its path."""
    with pytest.raises(JournalError, match="cannot be read") as error:
        read_journal(tmp_path / FILE_NAME)
    assert str(tmp_path) in str(error.value)


def write_study(folder: Path, *records: dict[str, object]) -> Path:
    """A journal with these records after its header."""
    folder.mkdir(parents=True)
    header = {"kind": "study", "schema": SCHEMA, "profile": "a-profile"}
    lines = [json.dumps(record) for record in (header, *records)]
    (folder / FILE_NAME).write_text("\n".join(lines) + "\n")
    return folder


TRIAL = {"kind": "trial", "number": 2, "verdict": "FITS"}


def test_a_study_is_read_back(tmp_path: Path) -> None:
    """Header, skipped strategies, trials, the launch in flight, the end, the rest."""
    folder = write_study(
        tmp_path / "s",
        {"kind": "skipped", "strategy": "A"},
        {"kind": "launching", "number": 2},
        TRIAL,
        {"kind": "launching", "number": 3},
        {"kind": "resumed"},
        {"kind": "end", "best": 2},
    )
    study = read_study(folder)
    assert study.profile == "a-profile"
    assert [s["strategy"] for s in study.skipped] == ["A"]
    assert study.trials == (TRIAL,)
    assert study.unanswered == (3,)
    assert study.others == ({"kind": "resumed"},)
    assert study.best == TRIAL


def test_a_study_without_an_end_has_no_best(tmp_path: Path) -> None:
    """It was broken off; the last that fitted is its best so far."""
    study = read_study(write_study(tmp_path / "s", TRIAL))
    assert study.end is None
    assert study.best is None
    assert study.best_so_far == TRIAL


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """A newer or older journal is not read as this one."""
    for other in (SCHEMA - 1, SCHEMA + 1):
        header = json.dumps({"kind": "study", "schema": other})
        (tmp_path / FILE_NAME).write_text(f"{header}\n")
        with pytest.raises(JournalError, match=f"schema {other}, .* reads {SCHEMA};"):
            read_study(tmp_path)
    (tmp_path / FILE_NAME).write_text('{"kind": "trial", "number": 1}\n')
    with pytest.raises(JournalError, match="no study line"):
        read_study(tmp_path)


def test_the_newest_study_that_found_anything_is_taken(tmp_path: Path) -> None:
    """Oldest first by name; those that found nothing are passed over."""
    logs = tmp_path / "logs"
    for stamp in ("20260101-000000", "20260102-000000"):
        end = {"kind": "end", "best": 2}
        write_study(logs / "p" / stamp, TRIAL, end)
    write_study(logs / "p" / "20260103-000000", {"kind": "end", "best": None})
    write_study(logs / "q" / "20260104-000000", TRIAL, {"kind": "end", "best": 2})
    assert [f.name[:8] for f in study_folders(logs, "p")] == [
        *("20260101", "20260102", "20260103")
    ]
    assert len(study_folders(logs)) == 4
    assert latest_proved(logs, "p").folder.name == "20260102-000000"
    with pytest.raises(InputError, match="no search of 'r'"):
        latest_proved(logs, "r")
