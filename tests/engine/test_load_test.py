"""The load test on the real llama-server: full caches, images, drafts, lost memory."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.app.rig import Rig, open_rig
from placer.engine.judge import Cause, Outcome, Verdict, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Observation, Proof, Stage
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement import Placement, Workload, placement_args
from placer.testing import EmulatedMachine, EmulatedWatch, RpcDevices, models
from placer.testing.models_pixtral import PATCHES_MAX
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress

pytestmark = pytest.mark.engine

#: Two slots, and a context that RPC devices fill in a second or two.
WORKLOAD = Workload(ctx=2048, batch=256, ubatch=128, parallel=2, flash_attn="off")
BOTH = Placement(split=(3, 2))
#: Decoded tokens and spare cells of each slot.
UNFILLED = 2 * 18
#: MiB in which all but a large image has room on the first device: what is loaded
#: takes 15.7, the projector's warm-up with an image of 256 tokens among it, and one of
#: 1024 tokens takes 4.6 more.
SHORT_OF_AN_IMAGE = 18


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small layers, which any processor computes."""
    return models.write_llama(tmp_path_factory.mktemp("load-test") / "model.gguf")


@pytest.fixture(scope="module")
def projector(model: Path) -> Path:
    """An image projector for it."""
    return models.write_pixtral(model.with_name("mmproj.gguf"))


@dataclass(slots=True, kw_only=True)
class Bench:
    """A placement of the model over two devices, to be launched."""

    rig: Rig
    model: Path
    log: Path
    workload: Workload = WORKLOAD

    def launch(
        self,
        *extra: str,
        proof: Proof = Proof.FULL,
        on_progress: Callable[[LoadProgress], None] = lambda _: None,
    ) -> tuple[Observation, Verdict]:
        """What is seen, and what it means."""
        shape = model_shape(read_gguf(self.model))
        test = LoadTest(
            runner=self.rig.runner,
            machine=self.rig.machine,
            shape=shape,
            workload=self.workload,
            proof=proof,
            watch=self.rig.watch,
            free_now=self.rig.free_bytes,
        )
        devices = ",".join(device.name for device in self.rig.machine.devices)
        args = ["-m", str(self.model), *self.workload.args(), "-dev", devices]
        args += [*placement_args(BOTH, shape), "--no-warmup", *extra]
        seen = test.observe(args, log_path=self.log, on_progress=on_progress)
        return seen, judge(seen, self.rig.machine, proof)

    @property
    def said(self) -> str:
        """The engine's log so far."""
        return self.log.read_text(errors="replace")


@pytest.fixture
def servers(bundled: Path) -> Iterator[RpcDevices]:
    """Two RPC devices of this machine."""
    with RpcDevices(bundled, [1, 1]) as devices:
        yield devices


@pytest.fixture
def remote(
    bundled: Path, servers: RpcDevices, model: Path, tmp_path: Path
) -> Iterator[Bench]:
    """The bench on them."""
    with open_rig(server=bundled, rpc=servers.endpoints) as rig:
        yield Bench(rig=rig, model=model, log=tmp_path / "launch.log")


@pytest.fixture
def emulated(
    request: pytest.FixtureRequest, engine: Path, model: Path, tmp_path: Path
) -> Iterator[tuple[Bench, EmulatedMachine]]:
    """The bench on emulated devices of so many MiB, and those devices."""
    with (
        EmulatedMachine(getattr(request, "param", (200, 200))) as machine,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in machine.env.items():
            patch.setenv(name, value)
        with open_rig(server=engine) as rig:
            seen = replace(rig, watch=EmulatedWatch(machine))
            yield Bench(rig=seen, model=model, log=tmp_path / "launch.log"), machine


@dataclass(slots=True)
class Once:
    """Does something as soon as a launch has come so far."""

    stage: Stage
    act: Callable[[], None]
    is_done: bool = field(default=False)

    def __call__(self, progress: LoadProgress) -> None:
        """Look at the progress; act once."""
        if progress.stage >= self.stage and not self.is_done:
            self.is_done = True
            self.act()


def test_a_cache_is_filled_to_its_end_and_used_again(remote: Bench) -> None:
    """Slots answer beside a full cache, whether they share it or not."""
    for unified in (True, False):
        remote.workload = replace(WORKLOAD, kv_unified=unified)
        seen, verdict = remote.launch()
        assert verdict.outcome is Outcome.FITS, verdict
        assert seen.stage is Stage.DECODED
        assert seen.prompt_tokens == WORKLOAD.ctx - UNFILLED
        assert seen.single is not None
        assert seen.single.prompt_tokens == WORKLOAD.ubatch
        assert seen.single.drafted_tokens == 0
        # Two slots twice, and one alone.
        assert remote.said.count("prompt eval time") == 5
        assert seen.image_tokens == 0


def test_a_prompt_in_every_slot(remote: Bench) -> None:
    """Proof enough where it is asked for; the context stays empty."""
    seen, verdict = remote.launch(proof=Proof.PROMPT)
    assert verdict.outcome is Outcome.FITS, verdict
    assert seen.prompt_tokens == 2 * WORKLOAD.ubatch
    assert remote.said.count("prompt eval time") == 2


def test_a_draft_model_drafts(remote: Bench) -> None:
    """At the end of a full context too: nobody waits for the end of a text."""
    draft = ("-md", str(remote.model), "--spec-type", "draft-simple")
    seen, verdict = remote.launch(*draft)
    assert verdict.outcome is Outcome.FITS, verdict
    assert seen.prompt_tokens == WORKLOAD.ctx - UNFILLED
    assert seen.single is not None
    assert seen.single.drafted_tokens > 0
    assert remote.said.count("draft acceptance") == 5


@pytest.mark.parametrize(
    ("ctx", "patches"), [(4096, PATCHES_MAX), (768, PATCHES_MAX // 4)]
)
def test_the_largest_image_is_seen_that_has_room(
    remote: Bench, projector: Path, ctx: int, patches: int
) -> None:
    """A patch a token, one more a row, and a few of text."""
    remote.workload = replace(WORKLOAD, ctx=ctx, kv_unified=False)
    seen, verdict = remote.launch("--mmproj", str(projector), proof=Proof.PROMPT)
    assert verdict.outcome is Outcome.FITS, verdict
    rows = int(patches**0.5)
    assert 0 <= seen.image_tokens - (patches + rows - 1) < 16
    assert remote.said.count("image decoded (batch 1/") == 1
    assert seen.prompt_tokens == 2 * WORKLOAD.ubatch


@pytest.mark.parametrize("emulated", [(SHORT_OF_AN_IMAGE, 200)], indirect=True)
def test_an_image_runs_out_of_memory_in_use(
    emulated: tuple[Bench, EmulatedMachine], projector: Path
) -> None:
    """What loads and warms up has no room for a large image, and dies of it.

    This build of the engine does not look whether it got the buffer: SIGSEGV.
    """
    bench, _ = emulated
    bench.workload = replace(WORKLOAD, ctx=4096, flash_attn="auto")
    flags = ("--mmproj", str(projector))
    _, verdict = bench.launch(*flags, proof=Proof.LOAD)
    assert verdict.outcome is Outcome.FITS, verdict
    seen, verdict = bench.launch(*flags, proof=Proof.PROMPT)
    assert verdict.outcome is Outcome.OOM_IN_USE, verdict
    assert verdict.device in ("Vulkan0", None)  # its last words may be lost
    assert verdict.asked_bytes is not None or verdict.device is None
    assert seen.stage is Stage.LOADED
    assert seen.exit_code is not None


def test_a_prompt_runs_out_of_memory_in_use(
    emulated: tuple[Bench, EmulatedMachine],
) -> None:
    """A device that has nothing left once loaded; the engine lives on and says so.

    Its room is back afterwards: that nobody else took it is not to be told.
    """
    bench, machine = emulated

    def no_room(progress: LoadProgress) -> None:
        if progress.stage >= Stage.LOADED:
            has_failed = "OutOfDeviceMemory" in bench.said
            machine.set_capacity(1, 200 if has_failed else 1)

    seen, verdict = bench.launch(on_progress=no_room)
    assert verdict.outcome is Outcome.OOM_IN_USE, verdict
    assert seen.stage is Stage.LOADED
    assert seen.exit_code is None
    assert "OutOfDeviceMemory" in (seen.answer_error or "")
    assert "OutOfDeviceMemory" in " ".join(verdict.evidence)
    assert seen.free_after_bytes == seen.free_bytes
    assert seen.others_bytes == (0, 0)


def test_room_that_is_missing_afterwards_was_taken(
    emulated: tuple[Bench, EmulatedMachine],
) -> None:
    """The same, and the device stays so: nothing follows for the placement."""
    bench, machine = emulated
    shrink = Once(Stage.LOADED, lambda: machine.set_capacity(1, 1))
    seen, verdict = bench.launch(on_progress=shrink)
    assert verdict.outcome is Outcome.SPOILED, verdict
    assert "took 199 MiB of Vulkan1 meanwhile" in verdict.evidence[0]
    assert seen.others_bytes == (0, 0)


@pytest.mark.parametrize("stage", [Stage.STARTED, Stage.LOADED])
def test_a_neighbour_spoils_a_launch(
    emulated: tuple[Bench, EmulatedMachine], stage: Stage
) -> None:
    """While it loads or once it is loaded; alone it fits."""
    bench, machine = emulated
    take = Once(stage, lambda: machine.occupy(1, 200))
    seen, verdict = bench.launch(on_progress=take)
    assert verdict.outcome is Outcome.SPOILED, verdict
    assert verdict.evidence[0] == "another process took 200 MiB of Vulkan1 meanwhile"
    assert seen.others_bytes == (0, 200 * MIB)
    assert seen.free_after_bytes == (200 * MIB, 0)
    machine.occupy(1, 0)
    _, verdict = bench.launch(proof=Proof.LOAD)
    assert verdict.outcome is Outcome.FITS, verdict


def test_an_rpc_server_that_runs_out_in_use_takes_the_engine_with_it(
    remote: Bench, servers: RpcDevices
) -> None:
    """It loads and does not fit; the engine's log does not tell that it was memory."""

    def no_more() -> None:
        pid = servers.pids[1]
        held_bytes = psutil.Process(pid).memory_info().vms
        resource.prlimit(pid, resource.RLIMIT_AS, (held_bytes, held_bytes))

    seen, verdict = remote.launch(on_progress=Once(Stage.LOADED, no_more))
    assert seen.stage is Stage.LOADED
    assert verdict.outcome is Outcome.CRASHED, verdict
    assert verdict.cause is Cause.RPC_SERVER
    assert not verdict.outcome.says_size
