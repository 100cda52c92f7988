"""Cells of a sweep on the devices that are here: launched, asked, read off."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placer.app.sweep_factors import sampling_of, tokens_of
from placer.app.sweep_measures import (
    DECODE,
    JOULES,
    PREFILL,
    TRUNCATED,
    TTFT,
    VRAM,
    Needs,
    Wanted,
    needs_of,
)
from placer.app.sweep_records import Figures, key_of
from placer.app.sweep_running import NotRunError
from placer.engine.asking import AskingClient, Question
from placer.engine.client import ServerAnswerError
from placer.engine.predictions import expected
from placer.engine.prompts import prompt_of
from placer.errors import MachineError
from placer.experiment.passes import pass_at_k
from placer.quality.attempt import Asking, Style
from placer.quality.grade import Grade
from placer.quality.rounds import run_round
from placer.tune.quality import N_TOKENS, PLACES, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.app.sweep_factors import Varied
    from placer.app.sweep_records import Answers, Key
    from placer.app.testbed import Server, Testbed
    from placer.engine.asking import Reply
    from placer.engine.predictions import Prediction
    from placer.experiment.design import Cell, Turn
    from placer.quality.attempt import Attempt
    from placer.quality.suite import Suite
    from placer.sandbox import Sandbox

# Kernels are compiled and pages touched by a request that does not count.
WARM_READ, WARM_WRITTEN = 64, 4
# A slot stops one short of its end.
SPARE_TOKENS = 2
# Of repeats after the first: other answers than those before, of all cells the same.
LATER_SEED = 11434


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How speeds are measured: one prompt of one user.

    Attributes:
        read: tokens of the prompt, as far as a slot has room.
        written: tokens of the answer.
    """

    read: int = 512
    written: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """How problems are put.

    Attributes:
        suite: the problems.
        sandbox: what answers run in.
        samples: answers to each problem in a repeat.
        users: that ask at once.
        max_tokens: of an answer.
        style: as a message, or as a text to be continued.
    """

    suite: Suite
    sandbox: Sandbox
    samples: int = 1
    users: int = 1
    max_tokens: int = 1024
    style: Style = Style.CHAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How perplexity is measured.

    Attributes:
        program: llama-perplexity.
        text: the file that it reads.
    """

    program: Path
    text: Path


@dataclass(kw_only=True)
class LocalBench:
    """Launches cells of a profile.

    Attributes:
        bed: the profile on the devices.
        varied: what a cell is to the server.
        wanted: what is measured.
        probe: how speeds are measured.
        exam: how problems are put; None where none are.
        reading: how perplexity is measured; None where it is not.
        answers: to problems, as far as they are known.
        folder: for the engine's logs.
        patience_s: seconds without a sign of loading after which it is stalled.
        on_wait: called while a server loads.
    """

    bed: Testbed
    varied: Sequence[Varied]
    wanted: Sequence[Wanted]
    probe: Probe
    exam: Exam | None
    reading: Reading | None
    answers: Answers
    folder: Path
    patience_s: float
    on_wait: Callable[[], None] = lambda: None
    _beds: dict[Key, Testbed] = field(default_factory=dict)

    @contextmanager
    def launched(self, settings: Cell, number: int) -> Iterator[LocalStation]:
        """A server with these settings, placed anew where it does not fit so."""
        bed = self._under(settings)
        log_path = self.folder / f"{number:03d}.log"
        launch = bed.server(log_path, patience_s=self.patience_s, on_wait=self.on_wait)
        with launch as server, AskingClient(server.base_url) as client:
            station = LocalStation(bench=self, bed=bed, server=server, client=client)
            station.warm_up()
            yield station

    def perplexity(self, settings: Cell, number: int) -> tuple[float, ...]:
        """By the program, after the server has ended."""
        from placer.engine.binary import Engine
        from placer.engine.perplexity import perplexities

        engine, reading = self.bed.rig.engine, self.reading
        if reading is None or not isinstance(engine, Engine):
            raise NotRunError("llama-perplexity is not here")
        log_path = self.folder / f"{number:03d}-perplexity.log"
        args = self._under(settings).args
        try:
            return perplexities(reading.program, engine, args, reading.text, log_path)
        except MachineError as error:
            raise NotRunError(str(error)) from None

    def _under(self, settings: Cell) -> Testbed:
        key = key_of(settings)
        if key not in self._beds:
            self._beds[key] = self.bed.under(tokens_of(self.varied, settings))
        return self._beds[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStation:
    """A server that is up, with the settings of a launch."""

    bench: LocalBench
    bed: Testbed
    server: Server
    client: AskingClient

    @property
    def load_s(self) -> float:
        """Seconds that it took to load."""
        return self.server.up.load_s

    @property
    def args(self) -> tuple[str, ...]:
        """All flags of its launch."""
        return self.bed.args

    def warm_up(self) -> None:
        """One request that does not count."""
        self._probed({}, Probe(read=WARM_READ, written=WARM_WRITTEN), 0)

    def expected(self) -> tuple[Prediction, ...] | None:
        """What it expects of a text that is always the same."""
        room = self.bed.target.workload.slot_ctx - SPARE_TOKENS
        n_tokens = min(N_TOKENS, room)
        url = self.server.base_url
        return expected(url, TEXT, n_tokens=n_tokens, places=PLACES)

    def run(self, turn: Turn) -> Figures:
        """All that is measured of a cell."""
        needs = needs_of(self.bench.wanted)
        sampling = sampling_of(self.bench.varied, turn.cell)
        figures: dict[str, float] = {}
        problems: dict[str, Mapping[str, float]] = {}
        self.server.meter.lap()
        if Needs.PROBE in needs:
            figures |= self._speeds(sampling, turn)
        if Needs.SUITE in needs:
            problems |= self._examined(sampling, turn)
        if Needs.MEMORY in needs:
            figures |= self._held()
        return Figures(figures=figures, problems=problems)

    def _speeds(self, sampling: Mapping[str, Any], turn: Turn) -> dict[str, float]:
        reply = self._probed(sampling, self.bench.probe, turn.repeat)
        joules = self.server.meter.lap().joules
        found = {
            DECODE: reply.decoded_tokens_per_s,
            PREFILL: reply.prompt_tokens_per_s,
            TTFT: reply.ttft_s,
            JOULES: None if joules is None else joules / max(reply.tokens, 1),
        }
        names = {one.name for one in self.bench.wanted}
        return {k: v for k, v in found.items() if k in names and v is not None}

    def _probed(self, sampling: Mapping[str, Any], probe: Probe, number: int) -> Reply:
        """One prompt that no cache knows, answered to its full length."""
        target = self.bed.target
        room = target.workload.slot_ctx - probe.written - SPARE_TOKENS
        n_vocab = target.shape.n_vocab
        tokens = prompt_of(max(min(probe.read, room), 1), n_vocab, number)
        question = Question(
            prompt=tokens,
            max_tokens=probe.written,
            sampling={**sampling, "ignore_eos": True, "cache_prompt": False},
            is_raw=True,
        )
        with self._asking():
            return self.client.ask(question)

    def _held(self) -> dict[str, float]:
        """Bytes of all devices together, and of each."""
        held = self.server.meter.lap().held_bytes
        if held is None:
            return {}
        devices = self.bed.rig.machine.devices
        each = {
            f"{VRAM} {device.name}": float(n_bytes)
            for device, n_bytes in zip(devices, held, strict=True)
        }
        return {VRAM: float(sum(held)), **each}

    def _examined(
        self, sampling: Mapping[str, Any], turn: Turn
    ) -> dict[str, Mapping[str, float]]:
        """Shares of a problem's answers, by measure and problem."""
        exam, answers = self.bench.exam, self.bench.answers
        if exam is None:
            raise AssertionError("a suite is measured, and there is none")
        attempts = dict(answers.known(turn))
        passed: dict[str, list[bool]] = defaultdict(list)

        def take(answer: Attempt) -> None:
            attempts[answer.problem, answer.sample] = answer
            answers.keep(turn, answer)

        def graded(one: Any) -> None:
            passed[one.problem].append(one.grade is Grade.PASSED)
            answers.graded(turn, one)

        # A client of its own: a round that breaks off closes it.
        with self._asking(), AskingClient(self.server.base_url) as client:
            run_round(
                client,
                exam.sandbox,
                exam.suite,
                Asking(
                    max_tokens=exam.max_tokens,
                    sampling=_seeded(sampling, turn.repeat, exam.samples),
                    style=exam.style,
                ),
                samples=exam.samples,
                users=exam.users,
                attempts=dict(attempts),
                on_attempt=take,
                on_graded=graded,
            )
        return self._shares(passed, attempts)

    def _shares(
        self,
        passed: Mapping[str, Sequence[bool]],
        attempts: Mapping[tuple[str, int], Attempt],
    ) -> dict[str, Mapping[str, float]]:
        cut: dict[str, list[bool]] = defaultdict(list)
        for answer in attempts.values():
            cut[answer.problem].append(answer.is_truncated)
        found: dict[str, Mapping[str, float]] = {}
        for one in self.bench.wanted:
            if one.k is not None:
                found[one.name] = {
                    problem: pass_at_k(len(those), sum(those), one.k)
                    for problem, those in passed.items()
                }
            elif one.name == TRUNCATED:
                found[one.name] = {p: sum(c) / len(c) for p, c in cut.items()}
        return found

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """What the server does not answer is of the cell, or of a server that fell."""
        try:
            yield
        except ServerAnswerError as error:
            self.server.require()
            raise NotRunError(str(error)) from None


def _seeded(
    sampling: Mapping[str, Any], repeat: int, samples: int
) -> Mapping[str, Any]:
    """Other answers in every repeat, by the same seeds in every cell."""
    if repeat <= 1:
        return sampling
    seed = sampling.get("seed", LATER_SEED) + (repeat - 1) * samples
    return {**sampling, "seed": seed}
