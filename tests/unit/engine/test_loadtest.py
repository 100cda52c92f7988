"""What a load test asks of a server, and what it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.app.rig import machine_of
from placer.engine.binary import Engine, list_devices
from placer.engine.client import Completion, ServerClient
from placer.engine.judge import Outcome, judge
from placer.engine.loadtest import LoadTest
from placer.engine.observation import Proof, Stage
from placer.engine.process import LocalRunner
from placer.engine.session import DECODE_TOKENS, Session
from placer.gguf import read_gguf
from placer.model import model_shape
from placer.placement import Placement, Workload
from placer.search.search import launch_args
from placer.testing.fake_engine import Fault, fake_engine
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.model import ModelShape

SHAPE = fake_shape([FakeLayer()])
PLACEMENT = Placement(split=(3, 2))


def prompt_tokens(workload: Workload, shape: ModelShape = SHAPE) -> int:
    """Tokens of each slot's prompt."""
    machine = fake_machine([MIB])
    runner = LocalRunner(Engine(binary=__file__, config_home=__file__))  # type: ignore[arg-type]
    test = LoadTest(runner=runner, machine=machine, shape=shape, workload=workload)
    return test.slot_prompt_tokens


@pytest.mark.parametrize(
    ("workload", "cells"),
    [
        (Workload(ctx=4096, parallel=1, kv_unified=False), 4096),
        (Workload(ctx=4096, parallel=4, kv_unified=True), 1024),
        (Workload(ctx=4096, parallel=4, kv_unified=False), 1024),
        # A stream of 1000 cells is made of 256s.
        (Workload(ctx=2000, parallel=2, kv_unified=False), 1024),
        (Workload(ctx=300, parallel=1, kv_unified=True), 512),
    ],
)
def test_all_slots_together_fill_the_context(workload: Workload, cells: int) -> None:
    """Each slot's prompt and the tokens it decodes take its share, but for two."""
    assert prompt_tokens(workload) + DECODE_TOKENS + 2 == cells


def test_a_tiny_context_still_has_a_prompt() -> None:
    """There is always a token to read."""
    many = Workload(ctx=256, parallel=64, kv_unified=True)
    assert prompt_tokens(many) == 1


def test_no_two_stages_say_the_same() -> None:
    """Records tell them apart by what they say."""
    assert len({stage.title for stage in Stage}) == len(Stage)


def load_test(
    engine: Path, model: Path, workload: Workload, proof: Proof = Proof.FULL
) -> tuple[LoadTest, tuple[str, ...]]:
    """A test of a placement that fits, and its flags."""
    shape = model_shape(read_gguf(model))
    described = Engine(binary=engine, config_home=engine.parent)
    test = LoadTest(
        runner=LocalRunner(described),
        machine=machine_of(list_devices(described), "a build"),
        shape=shape,
        workload=workload,
        proof=proof,
        patience_s=10,
    )
    args = launch_args(str(model), workload, (), PLACEMENT, shape, test.machine)
    return test, args


def test_progress_comes_in_order(tmp_path: Path, moe_path: Path) -> None:
    """Loading, then more and more of the prompt, then the decoding."""
    workload = Workload(ctx=8192, batch=512, ubatch=512, parallel=2)
    engine = fake_engine(tmp_path, fault=Fault.SLOW)
    test, args = load_test(engine, moe_path, workload)
    seen: list[LoadProgress] = []
    observation = test.observe(
        args, log_path=tmp_path / "a.log", on_progress=seen.append
    )
    assert observation.stage is Stage.DECODED
    stages = [progress.stage for progress in seen]
    assert stages == sorted(stages)
    assert set(stages) == set(Stage) - {Stage.PROMPTED, Stage.DECODED}
    filling = [p.done_tokens for p in seen if p.stage is Stage.LOADED]
    assert filling == sorted(filling)
    assert len(set(filling)) > 3
    assert filling[-1] <= observation.prompt_tokens
    assert observation.prompt_tokens == 2 * test.slot_prompt_tokens
    assert observation.load_s is not None
    assert 0 < observation.load_s < observation.total_s


def test_a_load_is_enough_where_it_is_asked_for(tmp_path: Path, moe_path: Path) -> None:
    """Then no prompt is sent, and nothing is timed."""
    workload = Workload(ctx=1024, parallel=1)
    engine = fake_engine(tmp_path, fault=Fault.HANG_AT_PROMPT)
    test, args = load_test(engine, moe_path, workload, Proof.LOAD)
    seen = test.observe(args, log_path=tmp_path / "a.log", on_progress=lambda _: None)
    assert seen.stage is Stage.LOADED
    assert seen.prompt_tokens == 0
    assert seen.single is None


class Watch:
    """Counts up: a process that holds more each time it is looked at."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """Nothing at first, then more and more."""
        self.asked.append(pid)
        return None if len(self.asked) < 3 else (len(self.asked), 7)

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        """As much more each time as the process itself."""
        return self.asked.count(pid), 100


def test_memory_is_watched_to_the_end(tmp_path: Path, moe_path: Path) -> None:
    """The peak is what the watch said last, and progress shows it."""
    test, args = load_test(fake_engine(tmp_path), moe_path, Workload(ctx=1024))
    watch = Watch()
    peaks: list[tuple[int, ...] | None] = []
    seen = replace(test, watch=watch).observe(
        args,
        log_path=tmp_path / "a.log",
        on_progress=lambda progress: peaks.append(progress.peak_bytes),
    )
    assert seen.peak_bytes == (len(watch.asked), 7)
    assert seen.others_bytes == (len(watch.asked) - 1, 0)
    assert len(set(watch.asked)) == 1
    assert peaks[0] is None
    assert peaks[-1] is not None


def test_free_memory_is_asked_before_each_launch(
    tmp_path: Path, moe_path: Path
) -> None:
    """What the devices have now counts, not what they had when the search began."""
    test, args = load_test(
        fake_engine(tmp_path), moe_path, Workload(ctx=1024), Proof.LOAD
    )
    now = replace(test, free_now=lambda: (5 * MIB, 6 * MIB))
    log_path = tmp_path / "a.log"
    seen = now.observe(args, log_path=log_path, on_progress=lambda _: None)
    assert seen.free_bytes == seen.free_after_bytes == (5 * MIB, 6 * MIB)
    seen = test.observe(args, log_path=log_path, on_progress=lambda _: None)
    assert seen.free_bytes == (400 * MIB, 300 * MIB)
    assert seen.free_after_bytes is None


Prompt = list[int] | dict[str, Any]


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Stage, Prompt]]:
    """What is sent to a server from now on, and how far the launch had come."""
    sent: list[tuple[Stage, Prompt]] = []
    asked, stages = ServerClient._complete, [Stage.STARTED]

    def note(client: ServerClient, prompt: Prompt, *rest: Any) -> Completion:
        sent.append((stages[-1], prompt))
        return asked(client, prompt, *rest)

    def begin(session: Session, *rest: Any) -> list[Completion] | None:
        stages.append(session.stage)
        return began(session, *rest)

    began = Session._ask
    monkeypatch.setattr(ServerClient, "_complete", note)
    monkeypatch.setattr(Session, "_ask", begin)
    return sent


def by_stage(sent: list[tuple[Stage, Prompt]]) -> list[tuple[Stage, int]]:
    """Stages and tokens of what was sent as token ids, in order."""
    return [(stage, len(p)) for stage, p in sent if isinstance(p, list)]


def test_a_full_cache_is_prompted_again(
    tmp_path: Path, moe_path: Path, prompts: list[tuple[Stage, Prompt]]
) -> None:
    """Every slot its share, every slot a ubatch, one slot alone; no prompt twice."""
    workload = Workload(ctx=2048, batch=512, ubatch=256, parallel=2)
    test, args = load_test(fake_engine(tmp_path), moe_path, workload)
    seen = test.observe(args, log_path=tmp_path / "a.log", on_progress=lambda _: None)
    assert seen.stage is Stage.DECODED
    full = (Stage.LOADED, test.slot_prompt_tokens)
    again, alone = (Stage.FILLED, 256), (Stage.REFILLED, 256)
    assert by_stage(prompts) == [full, full, again, again, alone]
    # What a slot holds of its first prompt is of no use for the second.
    assert len({prompt[0] for _, prompt in prompts if isinstance(prompt, list)}) == 5
    assert seen.prompt_tokens == 2 * test.slot_prompt_tokens
    assert seen.single is not None
    assert seen.single.prompt_tokens == 256


@pytest.mark.parametrize(("ubatch", "tokens"), [(256, 256), (2048, 1006)])
def test_a_prompt_in_every_slot_is_enough_where_it_is_asked_for(
    tmp_path: Path,
    moe_path: Path,
    prompts: list[tuple[Stage, Prompt]],
    ubatch: int,
    tokens: int,
) -> None:
    """A full ubatch, or a slot's share where that is smaller; nobody is timed alone."""
    workload = Workload(ctx=2048, batch=2048, ubatch=ubatch, parallel=2)
    test, args = load_test(fake_engine(tmp_path), moe_path, workload, Proof.PROMPT)
    seen = test.observe(args, log_path=tmp_path / "a.log", on_progress=lambda _: None)
    assert seen.stage is Stage.PROMPTED
    assert judge(seen, test.machine, Proof.PROMPT).outcome is Outcome.FITS
    assert judge(seen, test.machine, Proof.FULL).outcome is not Outcome.FITS
    assert by_stage(prompts) == [(Stage.LOADED, tokens)] * 2
    assert seen.prompt_tokens == 2 * tokens
    assert seen.single is None


@pytest.mark.parametrize(
    ("ctx", "tokens"),
    # The fake projector makes at most 1024 tokens of an image, and 256 of 512 pixels.
    [(4096, 1025), (512, 257), (256, 65)],
)
def test_an_image_is_shown_first_where_images_are_understood(
    tmp_path: Path,
    moe_path: Path,
    prompts: list[tuple[Stage, Prompt]],
    ctx: int,
    tokens: int,
) -> None:
    """The largest that a slot has room for, alone, before the context is filled."""
    workload = Workload(ctx=ctx, batch=256, ubatch=256, parallel=1)
    test, args = load_test(fake_engine(tmp_path), moe_path, workload, Proof.PROMPT)
    seen = test.observe(
        [*args, "--mmproj", "projector.gguf"],
        log_path=tmp_path / "a.log",
        on_progress=lambda _: None,
    )
    assert judge(seen, test.machine, Proof.PROMPT).outcome is Outcome.FITS
    assert seen.image_tokens == tokens
    kinds = [isinstance(prompt, dict) for _, prompt in prompts]
    assert kinds[0]
    assert kinds == sorted(kinds, reverse=True)
    assert len(by_stage(prompts)) == 1


@pytest.mark.parametrize("flags", [[], ["--mmproj", "p.gguf"]])
def test_no_image_is_shown_where_it_is_of_no_use(
    tmp_path: Path,
    moe_path: Path,
    prompts: list[tuple[Stage, Prompt]],
    flags: list[str],
) -> None:
    """Not without a projector, and not where loading is enough."""
    proof = Proof.LOAD if flags else Proof.PROMPT
    test, args = load_test(fake_engine(tmp_path), moe_path, Workload(ctx=512), proof)
    log_path = tmp_path / "a.log"
    seen = test.observe([*args, *flags], log_path=log_path, on_progress=lambda _: None)
    assert seen.image_tokens == 0
    assert not [prompt for _, prompt in prompts if isinstance(prompt, dict)]


def test_a_projector_that_runs_out_is_out_of_memory(
    tmp_path: Path, moe_path: Path
) -> None:
    """In use, on its device, though every prompt of text would have been answered."""
    engine = fake_engine(tmp_path, fault=Fault.OOM_AT_IMAGE)
    test, args = load_test(engine, moe_path, Workload(ctx=2048))
    seen = test.observe(
        [*args, "-mm", "projector.gguf"],
        log_path=tmp_path / "a.log",
        on_progress=lambda _: None,
    )
    verdict = judge(seen, test.machine, Proof.FULL)
    assert verdict.outcome is Outcome.OOM_IN_USE
    assert verdict.device == "Vulkan0"
    seen = test.observe(args, log_path=tmp_path / "a.log", on_progress=lambda _: None)
    assert judge(seen, test.machine, Proof.FULL).outcome is Outcome.FITS
