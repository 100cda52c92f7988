"""``placer new``: what a header suggests, and where it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from placer.app.added import HEADER, Wanted, model_name, new
from placer.app.where import Where
from placer.errors import InputError
from placer.gguf import read_gguf
from placer.profiles import read_arguments, read_conf, undo
from placer.testing.models import write_deepseek2, write_llama, write_qwen3moe
from placer.testing.models_file import Field, Weight, text, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from placer.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A folder with models, and no models.conf yet."""

    folder: Path

    @property
    def conf(self) -> Path:
        """The profile file."""
        return self.folder / "models.conf"

    @property
    def where(self) -> Where:
        """The files."""
        return Where(conf=self.conf, models=self.folder / "models")

    def new(self, model: str, wanted: Wanted | None = None) -> Profile:
        """A profile for a model."""
        new("x", model, self.where, wanted)
        return read_conf(self.conf).profile("x")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A mixture that was trained for 131072 tokens."""
    (tmp_path / "models").mkdir()
    write_qwen3moe(tmp_path / "models" / "Tiny-30B-A3B-Q4_K_M.gguf")
    return Desk(folder=tmp_path)


def test_a_new_profile_can_be_served_at_once(desk: Desk) -> None:
    """The engine places it: a number of layers would turn that off."""
    profile = desk.new("Tiny-30B-A3B-Q4_K_M.gguf")
    assert profile.name == "Tiny-30B-A3B Q4_K_M"
    assert profile.model == "Tiny-30B-A3B-Q4_K_M.gguf"
    assert profile.ctx_size == 131072
    said = " ".join(a.text.strip() for a in read_arguments(profile))
    assert said == (
        "-c 131072 -ngl auto -fit on -fa on -ctk q8_0 -ctv q8_0 -b 2048 -ub 512"
    )
    assert profile.description == "8.1 MiB, 8 experts, 128K context"
    assert profile.provenance is None


def test_a_file_is_begun_and_the_profile_can_be_taken_back(desk: Desk) -> None:
    """What stays of it are comments that say what it is."""
    desk.new("Tiny-30B-A3B-Q4_K_M.gguf")
    assert desk.conf.read_text().startswith(HEADER + "\n# New on ")
    undo(desk.conf)
    assert desk.conf.read_text() == HEADER


def test_nothing_is_made_where_nothing_is_to_be_written(desk: Desk) -> None:
    """The whole file that there would be is the difference."""
    change = new("x", "Tiny-30B-A3B-Q4_K_M.gguf", desk.where, write=False)
    assert not desk.conf.exists()
    assert not change.written
    assert "+# Profiles:" in change.diff
    assert "+[x]" in change.diff


def test_a_file_that_is_there_keeps_every_byte(desk: Desk) -> None:
    """The profile comes behind it."""
    desk.conf.write_bytes(b"# mine\r\n[y]\r\nMODEL=m")
    desk.new("Tiny-30B-A3B-Q4_K_M.gguf")
    assert desk.conf.read_bytes().startswith(b"# mine\r\n[y]\r\nMODEL=m\r\n\r\n# New ")


def test_what_is_asked_comes_before_what_is_suggested(desk: Desk) -> None:
    """Context, batches, cache types and words."""
    wanted = Wanted(
        name="A", description="B", ctx=4096, batch=256, ubatch=64, type_v="f16"
    )
    profile = desk.new("Tiny-30B-A3B-Q4_K_M.gguf", wanted)
    assert (profile.name, profile.description, profile.ctx_size) == ("A", "B", 4096)
    args = " ".join(profile.extra_args)
    assert args == "-fa on -ctk q8_0 -ctv f16 -b 256 -ub 64"


def test_both_variants_come_from_one_command(desk: Desk) -> None:
    """The same model and cache, a short context and small batches."""
    wanted = Wanted(variants=("production", "bench"), type_k="q4_0")
    change = new("x", "Tiny-30B-A3B-Q4_K_M.gguf", desk.where, wanted)
    bench = change.after.profile("bench-x")
    assert (bench.ctx_size, bench.model) == (10240, "Tiny-30B-A3B-Q4_K_M.gguf")
    assert bench.name == "Bench Tiny-30B-A3B Q4_K_M"
    args = " ".join(bench.extra_args)
    assert args == "-fa on -ctk q4_0 -ctv q8_0 -b 512 -ub 512"
    assert len(change.after.profiles) == 2


def test_a_model_elsewhere_is_named_in_full(desk: Desk) -> None:
    """One under the models folder by its name there, links and all."""
    there = write_llama(desk.folder / "dense.gguf")
    assert desk.new(str(there)).model == str(there)
    (desk.folder / "models" / "sub").mkdir()
    link = desk.folder / "models" / "sub" / "link.gguf"
    link.symlink_to(there)
    new("y", str(link), desk.where)
    assert read_conf(desk.conf).profile("y").model == "sub/link.gguf"


def test_a_latent_cache_has_one_type(desk: Desk) -> None:
    """Keys and values of such a model cannot differ, and do not."""
    write_deepseek2(desk.folder / "models" / "mla.gguf")
    args = " ".join(desk.new("mla.gguf").extra_args)
    assert args.startswith("-fa on -ctk q8_0 -ctv q8_0 ")


def test_heads_that_are_no_whole_blocks_keep_a_plain_cache(desk: Desk) -> None:
    """The engine would refuse a quantised one."""
    write_llama(desk.folder / "models" / "odd.gguf", n_embd_head=48)
    assert " ".join(desk.new("odd.gguf").extra_args) == "-fa on -b 2048 -ub 512"


@pytest.mark.parametrize(
    ("name", "model", "wanted", "says"),
    [
        ("x", "gone.gguf", Wanted(), "gone.gguf was not found"),
        ("a b", "Tiny-30B-A3B-Q4_K_M.gguf", Wanted(), "cannot name a profile"),
        ("x", "Tiny-30B-A3B-Q4_K_M.gguf", Wanted(type_k="q9"), "no cache type"),
        ("x", "Tiny-30B-A3B-Q4_K_M.gguf", Wanted(name="a\nb"), "cannot stand as NAME"),
    ],
)
def test_bad_input_makes_no_file(
    desk: Desk, name: str, model: str, wanted: Wanted, says: str
) -> None:
    """It is known before anything is written."""
    with pytest.raises(InputError, match=says):
        new(name, model, desk.where, wanted)
    assert not desk.conf.exists()


def test_a_profile_that_is_there_stays(desk: Desk) -> None:
    """A bench variant that is there too: neither of the two is added."""
    desk.conf.write_text("[bench-x]\nMODEL=m\n")
    wanted = Wanted(variants=("production", "bench"))
    with pytest.raises(InputError, match=r"\[bench-x\] is there already"):
        new("x", "Tiny-30B-A3B-Q4_K_M.gguf", desk.where, wanted)
    assert desk.conf.read_text() == "[bench-x]\nMODEL=m\n"


@pytest.mark.parametrize(
    ("file", "general", "name"),
    [
        ("a-Q8_0.gguf", {"name": "GLM-4.7-Flash"}, "GLM-4.7-Flash Q8_0"),
        ("a-UD-Q5_K_XL.gguf", {"name": "Q", "size_label": "80B"}, "Q 80B UD-Q5_K_XL"),
        ("a.gguf", {"name": "Q 30b A3B", "size_label": "30B-A3B"}, "Q 30b A3B F16"),
        ("gpt-oss-120b-F16.gguf", {}, "gpt-oss-120b F16"),
        ("Qwen3.gguf", {}, "Qwen3 F16"),
        ("IQ4_XS.gguf", {}, "IQ4_XS"),
        ("a-MXFP4_MOE.gguf", {"name": "two\nlines\t\x07"}, "two lines MXFP4_MOE"),
    ],
)
def test_a_name_is_what_the_header_says(
    tmp_path: Path, file: str, general: dict[str, str], name: str
) -> None:
    """What the model is called, how large it is, and how it is quantised; each once."""
    fields: list[Field] = [text(f"general.{k}", v) for k, v in general.items()]
    path = write_file(
        tmp_path / file, fields, [Weight(name="w", dims=(32,), type_name="F16")]
    )
    assert model_name(read_gguf(path)) == name
