"""What is asked of the server: context, batches, slots, cache types.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass

from placer.errors import InputError
from placer.units import pad

# arg.cpp:304, in the engine's spelling
KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
# Those that attention can read without being fused: llama-context.cpp:3843.
PLAIN_TYPES = ("f32", "f16", "bf16")
INT32_MAX = 2**31 - 1
FLASH_ATTN = ("on", "off", "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the server must be able to do; every field moves memory.

    Attributes:
        ctx: tokens of context, all slots together.
        batch: ``-b``, logical batch in tokens.
        ubatch: ``-ub``, physical batch in tokens; drives the compute buffers.
        parallel: ``-np``, slots.
        kv_unified: ``-kvu``, one cache that all slots share.
        type_k: type of the keys in the cache.
        type_v: type of the values in the cache.
        flash_attn: ``on``, ``off`` or ``auto``.
        swa_full: ``--swa-full``, windows cached at full length.
        kv_offload: False is ``--no-kv-offload``.
        op_offload: False is ``--no-op-offload``.
        drafted: tokens that a slot may have to check at once, where some are drafted.
        kept_states: recurrent states kept beside a slot's newest, to take drafts back;
            0 where the architecture cannot. Both follow from flags of the profile that
            are passed through, so ``args`` does not say them.

    Raises:
        InputError: a value that the engine would refuse.
    """

    ctx: int
    batch: int = 2048
    ubatch: int = 512
    parallel: int = 4
    kv_unified: bool = True
    type_k: str = "f16"
    type_v: str = "f16"
    flash_attn: str = "auto"
    swa_full: bool = False
    kv_offload: bool = True
    op_offload: bool = True
    drafted: int = 0
    kept_states: int = 0

    def __post_init__(self) -> None:
        for name in ("ctx", "batch", "ubatch", "parallel"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= INT32_MAX:
                raise InputError(
                    f"{name} is {value!r}",
                    hint=f"give a number from 1 to {INT32_MAX}",
                )
        for name in ("type_k", "type_v"):
            if getattr(self, name) not in KV_TYPES:
                raise InputError(
                    f"{getattr(self, name)!r} is no cache type",
                    hint=f"use one of {', '.join(KV_TYPES)}",
                )
        if self.flash_attn == "off" and self.type_v not in PLAIN_TYPES:
            raise InputError(
                f"a cache of values in {self.type_v} needs flash attention",
                hint="use -fa on, or -ctv f16",
            )
        if self.flash_attn not in FLASH_ATTN:
            raise InputError(
                f"{self.flash_attn!r} is no setting of flash attention",
                hint=f"use one of {', '.join(FLASH_ATTN)}",
            )

    @property
    def n_ctx_seq(self) -> int:
        """Cells of one stream: llama-context.cpp:292."""
        if self.kv_unified:
            return pad(self.ctx, 256)
        return pad(pad(self.ctx, 256) // self.parallel, 256)

    @property
    def n_stream(self) -> int:
        """Streams of the cache: one where it is unified, else one a slot."""
        return 1 if self.kv_unified else self.parallel

    @property
    def slot_ctx(self) -> int:
        """Tokens that one slot can hold when it is alone."""
        return self.n_ctx_seq

    @property
    def n_ubatch(self) -> int:
        """The physical batch that the engine uses: no more than ``-b``."""
        return min(self.ubatch, self.batch)

    @property
    def n_outputs_max(self) -> int:
        """Rows of logits of one batch: speculative.cpp:2667."""
        return min(self.batch, self.parallel * (1 + self.drafted))

    def args(self) -> list[str]:
        """The workload as llama-server's flags, each of them explicit."""
        args = ["-c", str(self.ctx), "-b", str(self.batch), "-ub", str(self.ubatch)]
        args += ["-np", str(self.parallel)]
        args += ["-kvu" if self.kv_unified else "-no-kvu"]
        args += ["-ctk", self.type_k, "-ctv", self.type_v, "-fa", self.flash_attn]
        if self.swa_full:
            args += ["--swa-full"]
        if not self.kv_offload:
            args += ["-nkvo"]
        if not self.op_offload:
            args += ["--no-op-offload"]
        return args
