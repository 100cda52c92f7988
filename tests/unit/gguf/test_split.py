"""Files of a split model are found by name, checked and joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError
from placer.gguf import read_gguf
from placer.gguf.split import shard_name
from placer.testing.models_file import Field, Weight, text, uint32, write_file

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 3


def weight(index: int) -> Weight:
    """One tensor for each shard."""
    return Weight(name=f"blk.{index}.w", dims=(32, 2), type_name="F16")


def split_fields(
    index: int, *, count: int = COUNT, tensors: int = COUNT
) -> list[Field]:
    """What gguf-split writes into each shard."""
    return [
        Field(key="split.no", type_name="uint16", value=index),
        Field(key="split.count", type_name="uint16", value=count),
        Field(key="split.tensors.count", type_name="int32", value=tensors),
    ]


def write_shard(
    folder: Path, index: int, fields: list[Field] | None = None, name: str = "m"
) -> Path:
    """One shard; the first carries the metadata of the model."""
    own = split_fields(index) if fields is None else fields
    if index == 0:
        own = [text("general.architecture", "llama"), uint32("llama.x", 1), *own]
    path = folder / shard_name(name, index + 1, COUNT)
    return write_file(path, own, [weight(index)])


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """A whole split model."""
    return [write_shard(tmp_path, index) for index in range(COUNT)]


@pytest.mark.parametrize("given", range(COUNT))
def test_any_shard_brings_the_whole_model(shards: list[Path], given: int) -> None:
    """Whichever file is given, the model is the same and starts at the first."""
    file = read_gguf(shards[given])
    assert file.path == shards[0]
    assert list(file.shards) == shards
    assert file.integer("x") == 1
    assert [(t.name, t.shard) for t in file.tensors] == [
        ("blk.0.w", 0),
        ("blk.1.w", 1),
        ("blk.2.w", 2),
    ]
    assert file.size_bytes == sum(path.stat().st_size for path in shards)


def test_offsets_start_anew_in_every_shard(shards: list[Path]) -> None:
    """An offset counts from the data section of the tensor's own shard."""
    assert [tensor.offset for tensor in read_gguf(shards[0]).tensors] == [0, 0, 0]


def test_a_name_with_line_breaks_and_dashes(tmp_path: Path) -> None:
    """Only the end of a name is looked at."""
    name = "a-00001-of-00002\nb"
    paths = [write_shard(tmp_path, index, name=name) for index in range(COUNT)]
    assert read_gguf(paths[1]).path == paths[0]


def test_a_missing_shard_is_named(shards: list[Path]) -> None:
    """The error names the file that is to be downloaded."""
    shards[1].unlink()
    with pytest.raises(InputError, match="number 2 of the model's 3") as caught:
        read_gguf(shards[0])
    assert caught.value.path == shards[1]


def test_every_missing_shard_is_named(shards: list[Path]) -> None:
    """Nobody downloads one, and is told of the next then."""
    shards[0].unlink()
    shards[2].unlink()
    with pytest.raises(InputError, match=f"number 1 of .* {shards[2].name}") as caught:
        read_gguf(shards[1])
    assert caught.value.path == shards[0]


def test_a_claim_to_be_one_of_many_is_a_short_error(tmp_path: Path) -> None:
    """The first missing ones are named, and that there are others."""
    fields = split_fields(0, count=60_000)
    path = write_file(tmp_path / shard_name("m", 1, 60_000), fields, [weight(0)])
    with pytest.raises(InputError, match=r"00008-of-60000.*nor are others") as caught:
        read_gguf(path)
    assert len(str(caught.value)) < 1000


def test_a_renamed_shard_says_what_it_should_be_called(shards: list[Path]) -> None:
    """A shard whose name lost its number cannot lead to the others."""
    path = shards[0].rename(shards[0].with_name("model.gguf"))
    with pytest.raises(InputError, match=r"does not end in -NNNNN-of-00003\.gguf"):
        read_gguf(path)


def test_a_name_that_claims_another_count(shards: list[Path]) -> None:
    """The count in the name is the count in the file."""
    path = shards[0].rename(shards[0].with_name(shard_name("m", 1, 4)))
    with pytest.raises(InputError, match="one of 3 files"):
        read_gguf(path)


def test_a_whole_model_may_have_any_name(tmp_path: Path) -> None:
    """Without ``split.count`` a file is whole, whatever its name claims."""
    path = tmp_path / shard_name("m", 2, 3)
    write_file(path, [text("general.architecture", "llama")], [weight(0)])
    file = read_gguf(path)
    assert file.shards == (path,)
    assert file.tensors[0].shard == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (split_fields(2), "split.no is 2, should be 1"),
        (split_fields(1, count=2), "split.count is 2, should be 3"),
        (split_fields(1)[1:], "split.no is absent, should be 1"),
        (split_fields(1)[:1], "split.count is absent, should be 3"),
        (
            [*split_fields(1), text("general.architecture", "gemma")],
            "general.architecture is gemma, should be llama",
        ),
    ],
)
def test_foreign_shards_are_named(
    shards: list[Path], fields: list[Field], message: str
) -> None:
    """A file of another model among the shards is found out and named."""
    write_shard(shards[1].parent, 1, fields)
    with pytest.raises(InputError) as caught:
        read_gguf(shards[0])
    assert caught.value.path == shards[1]
    assert message in str(caught.value)


def test_a_first_shard_that_is_not_the_first(shards: list[Path]) -> None:
    """Shards that were swapped by name are found out, whichever is given."""
    shards[0].rename(shards[0].with_name("spare"))
    shards[1].rename(shards[0])
    shards[0].with_name("spare").rename(shards[1])
    with pytest.raises(InputError, match=r"split\.no is 1, should be 0") as caught:
        read_gguf(shards[2])
    assert caught.value.path == shards[0]


def test_a_tensor_in_two_shards(shards: list[Path]) -> None:
    """Two shards with one tensor are not of one model."""
    write_file(shards[2], split_fields(2), [weight(0)])
    with pytest.raises(InputError, match=r"'blk\.0\.w', which is also in m-00001"):
        read_gguf(shards[0])


def test_too_few_tensors(shards: list[Path]) -> None:
    """The first shard knows how many tensors there are in all."""
    write_shard(shards[0].parent, 0, split_fields(0, tensors=4))
    with pytest.raises(InputError, match=r"count is 4, and its 3 files have 3"):
        read_gguf(shards[0])


def test_a_truncated_shard_is_the_one_named(shards: list[Path]) -> None:
    """Damage in any shard is reported with the path of that shard."""
    shards[2].write_bytes(shards[2].read_bytes()[:-64])
    with pytest.raises(InputError, match="download is incomplete") as caught:
        read_gguf(shards[0])
    assert caught.value.path == shards[2]


def test_a_count_that_is_no_number(tmp_path: Path) -> None:
    """``split.count`` must be a whole number."""
    path = write_file(tmp_path / "m.gguf", [text("split.count", "3")], ())
    with pytest.raises(InputError, match=r"split\.count is '3', not a number"):
        read_gguf(path)
