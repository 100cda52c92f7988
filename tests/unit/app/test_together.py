from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import placer
from placer.app.presets import PresetOptions, presets, write_presets
from placer.app.together import Together, TogetherOptions, short_text, together
from placer.cli.main import run
from placer.plan import Goal
from placer.testing.models import write_llama, write_qwen3moe
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

# The mixture takes 80 MiB and more, the dense model 9.
CONF = """\
[moe]
NAME=A mixture
MODEL=moe.gguf
CTX_SIZE=1024
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 64 -ub 64 -np 1

[dense]
MODEL=dense.gguf
CTX_SIZE=1024
N_GPU_LAYERS=99
EXTRA_ARGS=-b 64 -ub 64 -np 1 -sm none -mg 0

[fitted]
MODEL=dense.gguf
CTX_SIZE=1024
FIT=on
EXTRA_ARGS=-np 1

[away]
MODEL=nowhere.gguf
"""
SMALL_HOST = """\
name = "two small cards"
[[devices]]
backend = "Vulkan"
total_mib = 20
[[devices]]
backend = "Vulkan"
total_mib = 20
[host]
total_mib = 30
free_mib = 30
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and a profile of each."""
    folder = tmp_path_factory.mktemp("together")
    write_qwen3moe(folder / "moe.gguf", n_layer=6, n_expert=16, n_ff_exp=512)
    write_llama(folder / "dense.gguf", n_layer=4, n_vocab=4096)
    (folder / "models.conf").write_text(CONF)
    return folder


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of the user's is looked at."""
    monkeypatch.setenv("PLACER_STATE", str(tmp_path / "state"))


def where(folder: Path, devices: str) -> placer.Where:
    """Devices that are only described."""
    return placer.Where(devices=devices, conf=folder / "models.conf", models=folder)


def asked(folder: Path, devices: str, *, margin_mib: int = 0) -> Together:
    """The mixture and the dense model."""
    options = TogetherOptions(margins_mib=(margin_mib,))
    return together(["moe", "dense"], where(folder, devices), options)


def test_profiles_that_fit_as_they_stand_are_left_as_they_are(folder: Path) -> None:
    """Nothing is planned, and each is as fast as alone."""
    found = asked(folder, "Vulkan0:200,Vulkan1:200")

    assert found.fits
    assert found.planned is None
    assert found.best is found.stated
    assert all(member.alone == member.together for member in found.best.members)


def test_profiles_that_do_not_are_placed_anew_in_what_the_others_leave(
    folder: Path,
) -> None:
    """What all of them hold of a device is no more than it has."""
    found = asked(folder, "Vulkan0:60,Vulkan1:60")

    assert found.stated is not None
    assert not found.stated.fits
    assert "short on Vulkan0" in short_text(found.pools, found.stated)
    assert found.planned is not None
    assert found.fits
    for index, pool in enumerate(found.pools):
        held = sum(m.resident.device_bytes[index] for m in found.planned.members)
        assert held + found.planned.left_bytes[index] == pool.free_bytes
    assert 0 < found.planned.ratio <= 1
    assert all(m.together <= m.alone * 1.001 for m in found.planned.members)


def test_more_memory_never_makes_them_slower(folder: Path) -> None:
    """To what two predictions may differ."""
    tight = asked(folder, "Vulkan0:40,Vulkan1:30").planned
    roomy = asked(folder, "Vulkan0:60,Vulkan1:50").planned

    assert tight is not None
    assert roomy is not None
    speeds = [[m.together for m in one.members] for one in (tight, roomy)]
    assert speeds[0][0] * speeds[0][1] <= speeds[1][0] * speeds[1][1] * 1.02


def test_a_margin_stays_free_of_each_device(folder: Path) -> None:
    """What is left is what is left beside it."""
    without = asked(folder, "Vulkan0:200")
    with_it = asked(folder, "Vulkan0:200", margin_mib=10)

    assert with_it.best.left_bytes[0] == without.best.left_bytes[0] - 10 * MIB


def test_a_placement_of_another_machine_is_said_and_planned_anew(folder: Path) -> None:
    """models.conf names CUDA0; the machine has none."""
    conf = folder / "other.conf"
    conf.write_text(CONF.replace("-mg 0", "-mg 3"))
    here = placer.Where(devices="Vulkan0:200", conf=conf, models=folder)
    found = together(["moe", "dense"], here)

    assert found.stated is None
    assert [name for name, _ in found.unstated] == ["dense"]
    assert found.fits


def test_what_fits_nowhere_even_alone_is_named(folder: Path) -> None:
    """No division of the memory could help."""
    with pytest.raises(placer.SearchError, match="moe does not fit even alone"):
        asked(folder, "Vulkan0:1")


def test_one_profile_or_one_twice_is_no_question(folder: Path) -> None:
    """Two different ones are the least."""
    for names in (["moe"], ["moe", "moe"]):
        with pytest.raises(placer.InputError, match="two or more"):
            together(names, where(folder, "Vulkan0:200"))


def test_hosts_memory_that_is_short_is_a_shortfall(
    folder: Path, tmp_path: Path
) -> None:
    """Experts go to the CPU, and the CPU has no room for those of both."""
    machine = tmp_path / "small.toml"
    machine.write_text(SMALL_HOST)
    here = placer.Where(
        machine=str(machine), conf=folder / "models.conf", models=folder
    )
    found = together(["moe", "dense"], here)

    assert not found.fits
    assert short_text(found.pools, found.best).endswith("short on CPU")


def test_the_command_says_it_and_exits_with_4_where_they_do_not_fit(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words, in one word, and as JSON."""
    files = ["--conf", str(folder / "models.conf"), "--models-dir", str(folder)]
    tight = ["together", "moe", "dense", "--devices", "Vulkan0:60,Vulkan1:60", *files]

    assert run([*tight, "--quiet"]) == 0
    assert capsys.readouterr().out == "fits\n"
    assert run(tight) == 0
    text = capsys.readouterr().out
    assert "As models.conf has them:" in text
    assert "an estimate" in text
    assert run([*tight, "--json", "--for", Goal.PREFILL.value]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["fits"]
    assert record["goal"] == "prefill"
    assert [one["name"] for one in record["planned"]["profiles"]] == ["moe", "dense"]


def test_a_preset_file_has_every_profile_whose_model_is_there(folder: Path) -> None:
    """Those that are not are named; one that --fit places leaves room for no other."""
    found = presets((), where(folder, "Vulkan0:200,Vulkan1:200"))

    assert [preset.name for preset in found.presets] == ["moe", "dense", "fitted"]
    assert [name for name, _ in found.left_out] == ["away"]
    assert found.models_max == 1
    assert [p.name for p in found.presets if p.on_startup] == ["moe"]
    assert "[fitted] is placed by --fit" in found.notes[0]
    assert [p.options["fit"] for p in found.presets] == ["off", "off", "on"]


def test_a_split_that_depends_on_free_memory_is_written_out(folder: Path) -> None:
    """Beside other models the engine would split otherwise."""
    found = presets(["moe", "dense"], where(folder, "Vulkan0:200,Vulkan1:200"))

    moe, dense = (preset.options for preset in found.presets)
    assert moe["tensor-split"] == "4,3"
    assert "tensor-split" not in dense
    assert dense["split-mode"] == "none"


def test_as_many_may_be_resident_as_any_fit(folder: Path) -> None:
    """The router is to be told by a flag: the file cannot say it."""
    both = presets(["moe", "dense"], where(folder, "Vulkan0:200,Vulkan1:200"))
    one = presets(["moe", "dense"], where(folder, "Vulkan0:60,Vulkan1:60"))

    assert both.models_max == 2
    assert both.command() == "llama-server --models-preset models.ini --models-max 2"
    assert one.models_max == 1


def test_what_does_not_fit_even_alone_is_left_out(folder: Path) -> None:
    """With what it is short of; where nothing is left that is an error."""
    found = presets(["moe", "dense"], where(folder, "Vulkan0:40"))

    assert [preset.name for preset in found.presets] == ["dense"]
    assert "short of Vulkan0" in found.left_out[0][1]
    with pytest.raises(placer.SearchError, match="short of Vulkan0"):
        presets(["moe"], where(folder, "Vulkan0:40"))


def test_no_more_are_loaded_on_startup_than_may_be_resident(folder: Path) -> None:
    """The router would not start."""
    here = where(folder, "Vulkan0:60,Vulkan1:60")

    chosen = presets(["moe", "dense"], here, PresetOptions(on_startup=("dense",)))
    assert [p.name for p in chosen.presets if p.on_startup] == ["dense"]
    for names in (("moe", "dense"), ("away",)):
        with pytest.raises(placer.InputError, match="--load-on-startup"):
            presets(["moe", "dense"], here, PresetOptions(on_startup=names))


def test_a_preset_file_is_written_whole(folder: Path, tmp_path: Path) -> None:
    """Its first lines say where it comes from and how to run it."""
    found = presets(["dense"], where(folder, "Vulkan0:200"))
    path = tmp_path / "models.ini"
    write_presets(found, path)

    lines = path.read_text().splitlines()
    assert "placer presets" in lines[0]
    assert lines[1].endswith("--models-max 1")
    assert list(tmp_path.glob("*.tmp")) == []
    with pytest.raises(placer.InputError, match="cannot be written"):
        write_presets(found, tmp_path / "nowhere" / "models.ini")


def test_the_routers_own_flags_are_not_in_the_file(folder: Path) -> None:
    """A key is given to the router itself, and nobody prints it."""
    conf = folder / "keyed.conf"
    conf.write_text(CONF.replace("-mg 0", "-mg 0 --api-key sk-secret --port 9000"))
    here = placer.Where(devices="Vulkan0:200", conf=conf, models=folder)
    found = presets(["dense"], here)

    assert "sk-secret" not in found.text()
    assert any("--api-key" in note for note in found.notes)


def test_the_command_prints_or_writes_the_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Printed, nothing but the file goes to standard output."""
    files = ["--conf", str(folder / "models.conf"), "--models-dir", str(folder)]
    asked = ["presets", "dense", "--devices", "Vulkan0:200", *files]

    assert run(asked) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("; ")
    assert printed.out.endswith("load-on-startup = true\n")
    assert "loaded on startup: dense" in printed.err
    path = tmp_path / "models.ini"
    assert run([*asked, "--out", str(path), "--quiet"]) == 0
    command = f"llama-server --models-preset {path} --models-max 1\n"
    assert capsys.readouterr().out == command
    assert run([*asked, "--json", "--load-on-startup", "none"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["models_max"] == 1
    assert record["presets"][0]["load_on_startup"] is False
