from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from placer.gguf import GGUFArray, read_gguf, type_names
from placer.memory import MemoryBreakdown, MemoryEstimate
from placer.placement import Workload
from placer.testing.accuracy.cases import KINDS, PARTS, Case, cases_of, rows
from placer.testing.accuracy.ceilings import missed
from placer.testing.accuracy.compare import Comparison, Row
from placer.testing.accuracy.described import Described, numbers
from placer.testing.accuracy.models import KnownModel, big_models, model_of_record
from placer.testing.accuracy.table import page
from placer.testing.accuracy.truth import Seen, Truth, read_truths, write_truths
from placer.testing.models_file import Weight
from placer.units import GIB, MIB

if TYPE_CHECKING:
    from pathlib import Path


def case() -> Case:
    """An even split of a model with a long context."""
    return Case(
        model="one-dense",
        kind="even split",
        placement_args=("-ngl", "99", "-ts", "1,1"),
        workload=Workload(ctx=32_768, type_k="q8_0", kv_offload=False),
    )


def comparison(
    said: MemoryBreakdown, seen: Seen, splits: tuple[int, int] = (3, 3)
) -> Comparison:
    """One device, and graph splits that the engine counts as three."""
    truth = Truth(case=case(), devices=(seen,), host=seen, splits=(3, 3))
    estimate = MemoryEstimate(
        devices=(said,), host=said, source="formula", graph_splits=splits
    )
    row = Row(name="Vulkan0", said=said, seen=seen)
    return Comparison(truth=truth, said=estimate, rows=(row,))


def held(model: float, context: float | None, compute: float | None) -> MemoryBreakdown:
    """MiB as the formula says them."""
    return MemoryBreakdown(
        model_bytes=round(model * MIB),
        context_bytes=None if context is None else round(context * MIB),
        compute_bytes=None if compute is None else round(compute * MIB),
    )


def printed(model: int, context: int, compute: float) -> Seen:
    """MiB as the engine prints them."""
    return Seen(
        model_mib=model, context_mib=context, compute_bytes=round(compute * MIB)
    )


RIGHT = (held(10.9, 5.0, 300), printed(10, 5, 300))


def test_every_two_levels_of_different_parts_meet() -> None:
    """Every pair of levels is asked about in some row of the design."""
    met = {
        (part, str(PARTS[part][row[part]]), other, str(PARTS[other][row[other]]))
        for own in rows().values()
        for row in own
        for part, other in combinations(PARTS, 2)
    }
    all_pairs = {
        (part, str(level), other, str(other_level))
        for part, other in combinations(PARTS, 2)
        for level in PARTS[part]
        for other_level in PARTS[other]
    }
    assert met == all_pairs


def test_every_kind_of_placement_meets_every_level() -> None:
    """Over its three rows each part takes each of its levels once."""
    for own in rows().values():
        for part in PARTS:
            assert sorted(row[part] for row in own) == [0, 1, 2]


def test_a_model_has_every_kind_of_placement() -> None:
    """As often as asked, whatever its place among the models."""
    shape = big_models()[0].shape()
    cases = list(cases_of("big", shape, 7, n_rows=2))
    kinds = [one.kind for one in cases if not one.drafting]
    assert kinds == [kind for kind in KINDS for _ in range(2)]


def test_a_model_drafts_by_itself_where_it_can() -> None:
    """Once so that states are kept, and once without any model."""
    models = {model.name: model for model in big_models()}
    for name, spec in (("GLM-4.5-Air", "draft-mtp"), ("gpt-oss-20b", "draft-dflash")):
        cases = [c for c in cases_of(name, models[name].shape(), 0) if c.drafting]
        assert [c.drafting[1] for c in cases] == [spec, "ngram-mod"]
        assert [c.workload.drafted for c in cases] == [3, 64]
        assert [c.by_nextn for c in cases] == [spec == "draft-mtp", False]


def test_truth_reads_back_as_written(tmp_path: Path) -> None:
    """Figures, refusals and every flag of the case survive the file."""
    seen = printed(1, 2, 3.25)
    truths = [
        Truth(case=case(), devices=(seen, seen), host=seen, splits=(3, 7)),
        Truth(case=case(), refused="error loading model"),
    ]
    path = tmp_path / "truth.jsonl.gz"
    write_truths(path, truths)
    assert list(read_truths(path)) == truths


def test_a_right_answer_misses_no_ceiling() -> None:
    """The part of a MiB that the engine cuts off is no error."""
    assert missed([comparison(*RIGHT)]) == []


@pytest.mark.parametrize(
    ("said", "seen", "reason"),
    [
        (held(11.0, 5, 300), printed(10, 5, 300), "weights differ"),
        (held(9.9, 5, 300), printed(10, 5, 300), "weights differ"),
        (held(10, 6.1, 300), printed(10, 5, 300), "context differs"),
        (held(10, 5, 235), printed(10, 5, 300), "65 MiB under"),
        (held(10, 5, 365), printed(10, 5, 300), "compute buffers are close"),
        (held(10, 5, None), printed(10, 5, 300), "compute buffers are close"),
    ],
)
def test_each_ceiling_is_missed(said: MemoryBreakdown, seen: Seen, reason: str) -> None:
    """An error of any part is said, and so is an answer that is not there."""
    assert any(reason in line for line in missed([comparison(said, seen)]))


def test_wrong_graph_splits_are_missed() -> None:
    """Both graphs count."""
    assert any(
        "graph splits" in line for line in missed([comparison(*RIGHT, splits=(3, 7))])
    )


def test_context_that_is_not_known_is_not_wrong() -> None:
    """The formula may leave it to the engine."""
    unknown = comparison(held(10, None, 300), printed(10, 5, 300))
    assert unknown.context_equal is None
    assert missed([unknown]) == []


def test_the_worst_model_stands_first_in_the_table() -> None:
    """And a share of less than all never reads as all."""
    right = comparison(*RIGHT)
    text = page([right, comparison(held(10, 5, 100), printed(10, 5, 300))], [])
    assert "| one-dense | 2 | 100 % | 100 % | 50.0 % |" in text
    assert "| one-dense | 0.0 | 200.0 | (3, 3) | (3, 3) |" in text


def test_a_description_becomes_tensors() -> None:
    """Dimensions are sums of products; a block that does not fit is F16."""
    described = Described(
        architecture="llama",
        numbers=numbers("L=2 E=64 H=2 D=24 V=10 K=1 F=1 C=1 R=1"),
        layers={"a": "attn_q E 2*H*D+1\nattn_output H*D E\nattn_norm! E"},
        outer="token_embd E V",
        keys={"heads": {"a": 2}, "rope.freq_base": None},
    )
    found = list(described.weights())
    assert found[0] == Weight(name="token_embd.weight", dims=(64, 10), type_name="Q8_0")
    assert found[1].dims == (64, 97)
    assert [w.type_name for w in found[1:4]] == ["Q8_0", "F16", "F32"]
    assert found[3].name == "blk.0.attn_norm"
    keys = [field.key for field in described.fields()]
    assert "llama.heads" in keys
    assert "llama.rope.freq_base" not in keys


#: Parameters in thousands of millions, as published.
PUBLISHED = {
    "Llama-3.1-70B": 70.6,
    "Mixtral-8x7B": 46.7,
    "Qwen2.5-7B": 7.62,
    "Qwen3-235B-A22B": 235.1,
    "DeepSeek-V3": 671.0,
    "gpt-oss-20b": 20.9,
    "Llama-4-Scout": 107.8,
    "GLM-4.5-Air": 110.5,
    "Nemotron-3-Nano-30B-A3B": 31.6,
    "Granite-4.0-H-Small": 32.2,
    "Falcon-H1-34B": 33.6,
    "LFM2-1.2B": 1.17,
}


@pytest.mark.parametrize("model", big_models(), ids=lambda model: model.name)
def test_big_models_have_their_published_size(model: KnownModel) -> None:
    """Within one per cent of the parameters of the published model."""
    n_parameters = sum(math.prod(weight.dims) for weight in model.weights)
    published = PUBLISHED.get(model.name, n_parameters / 1e9)
    assert n_parameters / 1e9 == pytest.approx(published, rel=0.01)


def test_a_record_becomes_a_phantom(tmp_path: Path) -> None:
    """Keys, arrays, vocabulary and tensors are those of the record."""
    numbers = {name: number for number, name in type_names().items()}
    record = {
        "name": "llama-dense",
        "metadata": [
            ["general.architecture", 8, "llama"],
            ["llama.block_count", 4, 2],
            ["llama.rope.freq_base", 6, 10_000.0],
            ["llama.attention.causal", 7, True],
            ["llama.heads", 9, {"type": 5, "n": 2, "values": [-1, 7]}],
            ["llama.labels", 9, {"type": 8, "n": 1, "strings": ["a"]}],
            ["vocab_size", -1, 128],
        ],
        "tensors": [
            ["token_embd.weight", [2**20, 4096], numbers["Q8_0"]],
            ["output_norm.weight", [256], numbers["F32"]],
        ],
    }
    model = model_of_record(record)
    path = model.write(tmp_path / "record.gguf")
    file = read_gguf(path)
    assert file.integer("block_count") == 2
    assert file.flag("attention.causal") is True
    assert file.integers("heads", 2) == (-1, 7)
    assert file.metadata["llama.labels"] == GGUFArray(element_type="string", count=1)
    assert file.array_length("tokenizer.ggml.tokens") == 128
    assert [(tensor.name, tensor.dims) for tensor in file.tensors] == [
        ("token_embd.weight", (2**20, 4096)),
        ("output_norm.weight", (256,)),
    ]
    assert file.size_bytes > 4 * GIB
    assert path.stat().st_blocks * 512 < MIB
    in_memory = model.file()
    assert in_memory.metadata.items() <= file.metadata.items()
    assert [(t.name, t.n_bytes) for t in in_memory.tensors] == [
        (t.name, t.n_bytes) for t in file.tensors
    ]
