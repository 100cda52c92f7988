"""The real engine, tuned: on RPC devices, which compute fast enough to measure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from placer.app import Request, Where
from placer.app.tuned import Tuned, tune
from placer.app.tuning import TuneOptions
from placer.errors import MachineError
from placer.testing import RpcDevices, models
from placer.tune.budget import Budget
from placer.tune.tried import Came
from placer.tune.tuner import Answer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

#: Nothing is quantised, so the CPU computes it in a second.
SHAPE = {"n_layer": 6, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4, "n_head": 8}
CONF = """\
[moe]
MODEL=moe.gguf
CTX_SIZE=1024
EXTRA_ARGS=-b 256 -ub 64 -np 1 -ctk f32 -ctv f32 --rpc {endpoints}
"""
#: An RPC server that is killed in the middle of a message ends now and then.
ATTEMPTS = 3


@pytest.fixture(scope="module")
def tuned(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """A profile whose cache is in f32, which a CPU reads slowly; tuned to write."""
    folder = tmp_path_factory.mktemp("tune")
    models.write_qwen3moe(folder / "moe.gguf", **SHAPE)
    options = TuneOptions(
        budget=Budget(launches=12),
        vary={"ctk": ("f16", "bf16")},
        only=True,
        write=True,
    )
    for left in reversed(range(ATTEMPTS)):
        try:
            return tuned_once(engine, folder, options)
        except MachineError:
            if not left:
                raise
            time.sleep(1)
    raise AssertionError


def tuned_once(engine: Path, folder: Path, options: TuneOptions) -> Tuned:
    """On two devices of its own."""
    with RpcDevices(engine, [1, 1]) as servers:
        conf = folder / "models.conf"
        conf.write_text(CONF.format(endpoints=servers.endpoints))
        where = Where(server=engine, conf=conf, models=folder, logs=folder / "logs")
        return tune("moe", where, Request(), options)


def test_a_narrower_cache_writes_faster(tuned: Tuned) -> None:
    """It is written if that is beyond what chance explains: machines are busy."""
    best, compared = tuned.result.best.settings, tuned.result.compared
    assert best["ctk"] in ("f16", "bf16")
    assert compared is not None
    assert compared.best.decode > compared.start.decode * 1.5
    assert (tuned.result.answer is Answer.BETTER) is (compared.gain > compared.noise)
    text = (tuned.folder.parents[3] / "models.conf").read_text()
    assert (f"-ctk {best['ctk']}" in text) is (tuned.result.answer is Answer.BETTER)


def test_every_setting_was_measured_once(tuned: Tuned) -> None:
    """Values are kept as keys are."""
    tried = tuned.result.tried
    assert [(t.settings["ctk"], t.settings["ctv"]) for t in tried[:1]] == [
        ("f32", "f32")
    ]
    assert {t.settings["ctv"] for t in tried} == {"f32", "f16", "bf16"}
    assert {t.came for t in tried} == {Came.MEASURED}
    assert tuned.result.stopped == "everything was tried"
    assert tuned.launches == len(tried) + 4 + 3


def test_what_a_type_costs_is_measured(tuned: Tuned) -> None:
    """By what the engine itself expects: three bits less of each number show."""
    by_type = {quality.type_k: quality for quality in tuned.quality}
    assert by_type.keys() == {"f16", "bf16"}
    assert {quality.places for quality in tuned.quality} == {32}
    assert all(quality.agreement > 0.9 for quality in tuned.quality)
    assert by_type["f16"].divergence < by_type["bf16"].divergence < 0.01
