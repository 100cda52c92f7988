"""What a search was about: model, engine, workload, devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.report.figures import count_text, mib_text, started_text
from placer.report.paths import without_folders
from placer.report.table import code, figure_columns, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.search.records import StudyRecord

DEVICES = (
    *text_columns("device", "card"),
    *figure_columns("MiB total", "MiB free before"),
)
PROOFS = {
    "load": "load, a launch counts as soon as its model is loaded",
    "prompt": "prompt, a launch counts when every slot has answered a prompt",
    "full": "full, a launch counts when it has filled its context and decoded",
}
GOALS = {
    "decode": "to write tokens fast",
    "prefill": "to read prompts fast",
    "balanced": "to be fast at eight tokens read for each one written",
}


def facts_list(study: StudyRecord) -> str:
    """What the search was about, as a list."""
    header = study.header
    launches = len(study.trials) + len(study.unanswered)
    beyond = ", and one step more is launched on every device"
    facts = {
        "model": _model_text(header["model"]),
        "engine": _engine_text(header),
        "workload": _workload_text(header["workload"]),
        "search": f"`{study.folder.name}`, started {started_text(header)}, "
        f"{launches} {'launch' if launches == 1 else 'launches'}",
        "goal": _goal_text(header),
        "proof": PROOFS.get(header["proof"], plain(header["proof"]))
        + (beyond if header["by_launch"] else ""),
    }
    drivers = {device["driver"] for device in header["devices"] if device["driver"]}
    if drivers:
        facts["driver"] = plain(", ".join(sorted(drivers)))
    if header["extra_args"]:
        args = header["extra_args"]
        facts["further flags"] = code(without_folders(" ".join(args), args))
    return "\n".join(f"- {name}: {text}" for name, text in facts.items())


def devices_table(study: StudyRecord) -> str:
    """The devices, with what they had free when the search started."""
    rows = [
        [
            plain(device["name"]),
            plain(device["description"]),
            mib_text(device["total_bytes"]),
            mib_text(device["free_bytes"]),
        ]
        for device in study.header["devices"]
    ]
    return table(DEVICES, rows)


def _model_text(model: Mapping[str, Any]) -> str:
    shards = model["shards"]
    return (
        f"{code(model['name'])}, {plain(model['architecture'])}, "
        f"{model['n_layer']} layers, {mib_text(model['size_bytes'])} MiB in "
        f"{'one file' if shards == 1 else f'{shards} files'}, "
        f"fingerprint {plain(model['fingerprint'])}"
    )


def _engine_text(header: Mapping[str, Any]) -> str:
    image = header.get("image")
    build = plain(str(header["engine"]))
    return build if image is None else f"{build}, in containers of {code(image)}"


def _goal_text(header: Mapping[str, Any]) -> str:
    """What the answer is to be best at, and what it is to leave free."""
    pairs = zip(header["devices"], header["margins_bytes"], strict=True)
    margins = [f"{mib_text(n)} MiB of {plain(d['name'])}" for d, n in pairs if n]
    free = f", {' and '.join(margins)} left free" if margins else ""
    return f"{GOALS.get(header['goal'], plain(header['goal']))}{free}"


def _workload_text(workload: Mapping[str, Any]) -> str:
    slots = workload["parallel"]
    shared = " that share one cache" if workload["kv_unified"] else ""
    parts = [
        f"{count_text(workload['ctx'])} tokens of context",
        "one slot" if slots == 1 else f"{slots} slots{shared}",
        f"batch {count_text(workload['batch'])}",
        f"ubatch {count_text(workload['ubatch'])}",
        f"cache types {workload['type_k']} and {workload['type_v']}",
        f"flash attention {workload['flash_attn']}",
    ]
    unusual = {
        "windows cached in full": workload["swa_full"],
        "cache on the host": not workload["kv_offload"],
        "no op offload": not workload["op_offload"],
    }
    return ", ".join([*parts, *(name for name, is_so in unusual.items() if is_so)])
