"""The real engine takes what ``placer new`` writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from placer.app import Where
from placer.app.added import Wanted, new
from placer.engine.client import ServerClient
from placer.profiles import read_arguments, read_conf
from placer.testing import models

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

# --fit leaves a GiB of each device free, so all is computed by the CPU, whose kernels
# for quantised types die on processors without AVX-VNNI.
WANTED = Wanted(ctx=512, type_k="f16", type_v="f16")
PATIENCE_S = 60


def test_a_new_profile_is_served_as_it_stands(engine: Path, tmp_path: Path) -> None:
    """llama-server places it by itself and is ready: nothing was searched for."""
    models.write_deepseek2(tmp_path / "mla.gguf")
    where = Where(
        server=engine, emulate=(200,), conf=tmp_path / "models.conf", models=tmp_path
    )
    new("mla", "mla.gguf", where, WANTED)
    profile = read_conf(where.folders.conf_path).profile("mla")
    tokens = [t for a in read_arguments(profile) for t in a.text.split()]
    log_path = tmp_path / "server.log"
    with where.rig() as rig:
        args = ("-m", str(tmp_path / "mla.gguf"), *tokens)
        process = rig.runner.start(args, log_path=log_path)
        try:
            until_s = time.monotonic() + PATIENCE_S
            with ServerClient(process.base_url, read_timeout_s=5) as client:
                while not client.is_healthy():
                    assert process.exit_code() is None, log_path.read_text()
                    assert time.monotonic() < until_s
                    time.sleep(0.05)
        finally:
            process.stop()
