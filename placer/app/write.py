"""A study's answer, written to its profile."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from placer.errors import InputError
from placer.placement import Workload
from placer.placement.arguments import flag_values
from placer.profiles import Conf, Edit, diff, read_arguments, read_conf, write_conf

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from placer.search.records import StudyRecord

WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a write to models.conf changed, or would change."""

    before: Conf
    after: Conf
    written: bool

    @property
    def diff(self) -> str:
        """Unified diff, ``""`` where nothing changes."""
        return diff(self.before, self.after)


def applied_study(study: StudyRecord, name: str, path: Path, *, write: bool) -> Applied:
    """The profile with what the study found; on disk too, if ``write``.

    Raises:
        InputError: no such profile, or the file cannot be written.
    """
    before = read_conf(path)
    flags = flag_values(read_arguments(before.profile(name)))
    after = before.updated(name, edit_of(study, flags))
    written = write and after.data != before.data
    if written:
        write_conf(after, path)
    return Applied(before=before, after=after, written=written)


def require_writable(path: Path) -> None:
    """A file that cannot be written is better known before a search than after.

    Raises:
        InputError: it is read-only.
    """
    if not os.access(path, os.W_OK) or not path.stat().st_mode & WRITE_BITS:
        raise InputError(
            "cannot be written: read-only",
            path=path,
            hint="make it writable, or search with --dry-run",
        )


def edit_of(study: StudyRecord, present: Container[str]) -> Edit:
    """The change to a profile that a study's best trial amounts to.

    Args:
        study: one that has a best trial.
        present: the names of the flags that the profile has now.
    """
    best = study.best_so_far
    if best is None:
        raise AssertionError("only a proved study is applied")
    args = best["args"]
    workload = Workload(**study.header["workload"])
    return Edit(
        on=datetime.now(UTC).date(),
        ctx_size=workload.ctx,
        fit=False,
        speed=_speed(study, best),
        placement=tuple(args[args.index("-ngl") :]),
        workload=_workload_args(workload, present) + _rpc_args(study),
        provenance=_facts(study, best),
    )


def _speed(study: StudyRecord, best: Mapping[str, Any]) -> str:
    """Tokens a second as measured; empty where an old figure would be untrue."""
    decode = best["decode_tokens_per_s"]
    if decode is None or study.header.get("emulated"):
        return ""
    return f"{decode:.1f} t/s"


def _rpc_args(study: StudyRecord) -> tuple[str, ...]:
    rpc = study.header.get("rpc")
    return () if rpc is None else ("--rpc", rpc)


def _workload_args(workload: Workload, present: Container[str]) -> tuple[str, ...]:
    """What a profile has to say about the workload.

    The batches and slots always, since they decide what fits; of the rest what the
    profile says already and what is not the engine's default.
    """
    default = Workload(ctx=workload.ctx)
    kv_unified = "-kvu" if workload.kv_unified else "-no-kvu"
    args = ["-b", str(workload.batch), "-ub", str(workload.ubatch)]
    args += ["-np", str(workload.parallel)]
    if "-kvu" in present or workload.parallel > 1:
        args.append(kv_unified)
    for flag, value, usual in (
        ("-ctk", workload.type_k, default.type_k),
        ("-ctv", workload.type_v, default.type_v),
        ("-fa", workload.flash_attn, default.flash_attn),
    ):
        if flag in present or value != usual:
            args += [flag, value]
    if workload.swa_full:
        args.append("--swa-full")
    if "-kvo" in present or not workload.kv_offload:
        args.append("-kvo" if workload.kv_offload else "-nkvo")
    if "--op-offload" in present or not workload.op_offload:
        args.append("--op-offload" if workload.op_offload else "--no-op-offload")
    return tuple(args)


def _facts(study: StudyRecord, best: Mapping[str, Any]) -> dict[str, str]:
    """What was measured, as the profile's comment keeps it."""
    facts = {
        "proved": study.header["started"][:10],
        "proof": study.header["proof"],
        "engine": study.header["engine"],
        "strategy": best["strategy"],
        "launches": str(study.end["launches"] if study.end else len(study.trials)),
    }
    if study.header.get("emulated"):
        facts["emulated"] = "yes"
    for index, device in enumerate(study.header["devices"]):
        free = device["free_bytes"] >> 20
        facts[f"free.{device['name']}"] = f"{free}MiB"
        if best["peak_bytes"] is not None:
            facts[f"peak.{device['name']}"] = f"{best['peak_bytes'][index] >> 20}MiB"
    for key in ("prompt_tokens_per_s", "decode_tokens_per_s"):
        if best[key] is not None:
            facts[key] = f"{best[key]:.1f}"
    facts["model"] = study.header["model"]["fingerprint"]
    facts["study"] = f"{study.folder.parent.name}/{study.folder.name}"
    return facts
