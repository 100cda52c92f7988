"""What to change after a verdict: one line, and nothing where nothing is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.engine.verdict import Cause, Outcome

if TYPE_CHECKING:
    from placer.engine.verdict import Verdict

OF_CAUSE = {
    Cause.BUFFER_LIMIT: "one buffer is larger than {device} gives at once, whatever is "
    "free: lower -ub, then -c, or spread the layers over more devices",
    Cause.ILLEGAL_INSTRUCTION: "use a llama-server built for this processor: it has "
    "instructions that the CPU lacks (-DGGML_NATIVE=ON on this machine, or an older "
    "CPU variant)",
    Cause.SEGMENTATION_FAULT: "this is a bug or a damaged installation, not memory: "
    "try another build of llama-server, and report it with this log",
    Cause.BUS_ERROR: "the model's file could not be read: is it whole, is the disk "
    "or /dev/shm full? --load-mode none (--no-mmap in older builds) reads it at once",
    Cause.KILLED: "look into dmesg for the kernel's OOM killer; if it was that, give "
    "the host more memory, or keep fewer experts or layers on the CPU",
    Cause.DEVICE_LOST: "look into dmesg and the driver's log; power, heat, "
    "overclocking and the driver lose a GPU, a placement does not; restart it, then "
    "try again",
    Cause.NO_KERNEL: "use a llama-server built for this GPU's architecture",
    Cause.RPC_SERVER: "look into the log of the rpc-server: it ended or was not "
    "reached; if its memory ran out, move layers off it",
    Cause.PORT: "choose another --port, or end what listens there",
    Cause.FLAG: "correct the flag that it names; llama-server --help lists this "
    "build's",
    Cause.MODEL: "check the model's file: its path, that it is whole, and that this "
    "build knows its architecture",
    Cause.CONTEXT_FULL: "a prompt did not fit: raise -c, or send less",
    Cause.CUT_OFF: "llama-server may lose its last lines when it ends, and with them "
    "why: try again; placer does so by itself",
    Cause.NO_GPU: "it runs on the CPU alone: check the driver, and that this build has "
    "a GPU backend",
}
OF_OUTCOME = {
    Outcome.OOM_WEIGHTS: "move layers or experts off {device}: placer plan finds "
    "which; by hand -ts, -ot or a smaller -ngl",
    Outcome.OOM_CONTEXT: "lower -c or -np, or store the cache as -ctk q8_0 -ctv q8_0; "
    "or move layers off {device}: placer plan",
    Outcome.OOM_COMPUTE: "lower -ub, then -c; or move layers off {device}: placer plan",
    Outcome.OOM_IN_USE: "leave {device} more free: lower -ub, or move a layer off it: "
    "placer plan --margin 512",
    Outcome.SPOILED: "it says nothing of the placement: try again while nobody else "
    "takes memory of {device}",
    Outcome.SPILLED: "it is slow, not full: move layers off {device}; under WSL and "
    "Windows the driver's CUDA sysmem fallback does this, elsewhere "
    "GGML_CUDA_ENABLE_UNIFIED_MEMORY",
    Outcome.HOST_MEMORY: "the host is short of memory: a smaller model or context, "
    "fewer experts or layers on the CPU, or mmap back on",
    Outcome.STALLED: "give it more time; the first prompt compiles shaders, and a slow "
    "disk reads a large model for minutes",
    Outcome.CRASHED: "the log does not say what to change: look at its lines, try "
    "another build of llama-server, and report it with this log",
    Outcome.UNKNOWN: "the log does not say how it ended: give the rest of it, or "
    "--exit-code",
}


def advice(verdict: Verdict) -> str | None:
    """What to change, in one line."""
    text = None if verdict.cause is None else OF_CAUSE.get(verdict.cause)
    if text is None or (verdict.outcome is Outcome.HOST_MEMORY):
        text = OF_OUTCOME.get(verdict.outcome)
    if text is None:
        return None
    return text.replace("{device}", verdict.device or "the device")
