"""One realistic file, edited as a search would edit it, byte for byte."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from placer.placement.arguments import flag_values
from placer.profiles import Conf, Edit, diff, read_arguments, read_conf

FOLDER = Path(__file__).parent
GLM = Edit(
    on=date(2026, 11, 23),
    fit=False,
    speed="112.4 t/s",
    placement=("-ngl", "48", "-ts", "35,13"),
    workload=("-c", "131072", "-b", "4096", "-ub", "1024"),
    provenance={
        "proved": "2026-11-23T14:02:11Z",
        "engine": "b10434",
        "proof": "filled",
        "CUDA0": "RTX 4090, 812 MiB left",
        "CUDA1": "RTX 5070 Ti, 733 MiB left",
        "decode_tps": "112.4",
    },
)
GPT_OSS = Edit(
    on=date(2026, 11, 23),
    fit=False,
    placement=(
        *("-ngl", "37", "-ts", "28,9"),
        *("-ot", r"blk\.([4-9]|1\d|2[0-3])\.ffn_(up|down|gate)_exps=CPU"),
    ),
    workload=("-c", "65536", "-b", "1024", "-np", "1"),
    provenance={"engine": "b10434", "proof": "loaded"},
)
BENCH = Edit(on=date(2026, 11, 24), fit=True, n_gpu_layers=-1, placement=())


def edited(conf: Conf) -> Conf:
    """The users' file after three searches."""
    conf = conf.updated("glm-q8", GLM)
    conf = conf.updated("gpt-oss-120b", GPT_OSS)
    return conf.updated("bench-gpt-oss-120b", BENCH)


def test_the_edited_file_is_the_golden_one() -> None:
    """Every byte of a realistic file after three searches is known."""
    after = edited(read_conf(FOLDER / "users.conf"))
    assert after.data == (FOLDER / "users-after.conf").read_bytes()


def test_the_diff_is_the_golden_one() -> None:
    """What a person is shown before the write is known."""
    conf = read_conf(FOLDER / "users.conf")
    shown = diff(conf, edited(conf)).encode()
    assert shown == (FOLDER / "users.diff").read_bytes()


def test_the_golden_file_is_read_back() -> None:
    """The edited file says what the searches found."""
    conf = read_conf(FOLDER / "users-after.conf")
    assert [p.provenance_holds for p in conf.profiles] == [True, True, None]
    flags = [flag_values(read_arguments(profile)) for profile in conf.profiles]
    assert [f.get("-ts") for f in flags] == ["35,13", "28,9", None]
    assert [f["-c"] for f in flags] == ["131072", "65536", "10240"]
    assert flags[2]["-fit"] == "on"
