"""What the engine said of each case, kept as a file."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from placer.placement import Workload
from placer.testing.accuracy.cases import Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The figures of one device or of the host.

    Attributes:
        model_mib: whole MiB, cut down, as the engine prints it.
        context_mib: likewise.
        compute_bytes: to 0.01 MiB.
    """

    model_mib: int
    context_mib: int
    compute_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A case with the engine's answer.

    Attributes:
        case: what was asked.
        devices: in the engine's order.
        host: of the CPU.
        splits: of the prefill and the decode graph.
        refused: the line with which the engine refused, None where it answered.
    """

    case: Case
    devices: tuple[Seen, ...] = ()
    host: Seen | None = None
    splits: tuple[int, int] | None = None
    refused: str | None = None


def read_truths(path: Path) -> Iterator[Truth]:
    """All truths of a file, in its order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield _truth(json.loads(line))


def write_truths(path: Path, truths: Iterable[Truth]) -> None:
    """A file of them, the same bytes for the same truths."""
    lines = [json.dumps(_record(truth), separators=(",", ":")) for truth in truths]
    packed = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    path.write_bytes(packed)


def _record(truth: Truth) -> dict[str, Any]:
    case = truth.case
    plain = asdict(Workload(ctx=1))
    workload = {k: v for k, v in asdict(case.workload).items() if v != plain[k]}
    record: dict[str, Any] = {
        "model": case.model,
        "kind": case.kind,
        "args": " ".join(case.placement_args),
        "workload": workload,
    }
    if case.drafting:
        record["drafting"] = " ".join(case.drafting)
    if truth.refused is not None or truth.host is None:
        return record | {"refused": truth.refused}
    return record | {
        "devices": [_row(seen) for seen in truth.devices],
        "host": _row(truth.host),
        "splits": truth.splits,
    }


def _row(seen: Seen) -> list[int]:
    return [seen.model_mib, seen.context_mib, seen.compute_bytes]


def _truth(record: Mapping[str, Any]) -> Truth:
    case = Case(
        model=record["model"],
        kind=record["kind"],
        placement_args=tuple(record["args"].split()),
        workload=Workload(**record["workload"]),
        drafting=tuple(record.get("drafting", "").split()),
    )
    if "refused" in record:
        return Truth(case=case, refused=str(record["refused"]))
    return Truth(
        case=case,
        devices=tuple(_seen(row) for row in record["devices"]),
        host=_seen(record["host"]),
        splits=None if record["splits"] is None else tuple(record["splits"]),
    )


def _seen(row: list[int]) -> Seen:
    return Seen(model_mib=row[0], context_mib=row[1], compute_bytes=row[2])
