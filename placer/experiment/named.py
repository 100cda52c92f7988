"""Experiments out of the box: what is varied, what is measured, what that answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A question, and the sweep that answers it.

    Attributes:
        name: as in ``--experiment``.
        question: in one sentence.
        vary: what is varied, as in ``--vary``.
        measures: as in ``--measure``; one with a question mark behind it is left out
            where it cannot be had.
        base: what the others are compared with, as in ``--base``; what is not named is
            compared with the profile's own value.
        repeats: None for as many as the measures need.
        prompt_tokens: that are read to measure a speed; None for the usual number.
        note: what to know before it is believed.
    """

    name: str
    question: str
    vary: tuple[str, ...]
    measures: str
    base: tuple[str, ...] = ()
    repeats: int | None = None
    prompt_tokens: int | None = None
    note: str = ""


EXPERIMENTS = {
    one.name: one
    for one in (
        Experiment(
            name="sampling",
            question="Which temperature and top-p solve the most coding problems?",
            vary=("temp=0.2,0.6,0.8,1.0", "top-p=0.8,0.95,1.0"),
            measures="pass@1,truncated",
            note="Problems are what counts: --limit makes it quick and blind.",
        ),
        Experiment(
            name="kv-types",
            question="What do narrower keys and values save, and what do they cost?",
            vary=("kv=f16,q8_0,q5_0,q4_0",),
            measures="kl,agreement,vram,tokens/s,ppl?",
            base=("kv=f16",),
            note="Keys and values have one type; vary ctk and ctv to tell them apart.",
        ),
        Experiment(
            name="op-offload",
            question="Are prompts read faster where the GPU computes on host weights?",
            vary=("op-offload=on,off",),
            measures="prompt-tokens/s,ttft,tokens/s,vram",
            prompt_tokens=2048,
            note="It only matters where weights stay on the CPU.",
        ),
        Experiment(
            name="threads",
            question="How many threads compute what is on the CPU the fastest?",
            vary=("t=half,cores,threads",),
            measures="tokens/s,prompt-tokens/s",
            note="It only matters where the CPU computes, as it does on its experts.",
        ),
        Experiment(
            name="row-split",
            question="Is it faster to split tensors by rows than the model by layers?",
            vary=("sm=layer,row",),
            measures="tokens/s,prompt-tokens/s,vram",
            note="Only CUDA, ROCm, MUSA and SYCL split rows, of builds that still do.",
        ),
        Experiment(
            name="ubatch",
            question="Which physical batch reads prompts the fastest, for what memory?",
            vary=("ub=256,512,1024,2048,4096",),
            measures="prompt-tokens/s,ttft,vram",
            prompt_tokens=8192,
            note="-b is raised with it; no more than a slot's context is read.",
        ),
    )
}
