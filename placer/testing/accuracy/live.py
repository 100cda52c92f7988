"""Asks a real engine, on emulated devices, for the truth of cases."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from placer.engine.binary import Engine, identify
from placer.engine.dryrun import apart, dry_run
from placer.engine.log import Phase, read_log
from placer.engine.process import LocalRunner
from placer.testing.accuracy.compare import CAPACITIES_MIB, machine
from placer.testing.accuracy.truth import Seen, Truth
from placer.testing.emulation import EmulatedMachine
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from placer.engine.log import LogFacts
    from placer.memory import MemoryBreakdown
    from placer.testing.accuracy.cases import Case
    from placer.testing.accuracy.models import KnownModel

#: Dry runs at a time.
PARALLEL: Final = 2
NO_ANSWER: Final = "no answer"


class LiveEngine:
    """A llama-server with two emulated devices, as a context manager."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        folder = enter(tempfile.TemporaryDirectory(prefix="accuracy-"))
        self._folder = Path(folder)
        emulated = enter(EmulatedMachine(CAPACITIES_MIB))
        home = self._folder / "home"
        home.mkdir()
        engine = Engine(binary=self._server, config_home=home, variables=emulated.env)
        self.build = identify(engine)
        self._runner = LocalRunner(engine)
        self._pool = enter(ThreadPoolExecutor(PARALLEL))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def truths(self, model: KnownModel, cases: Iterable[Case]) -> Iterator[Truth]:
        """The engine's answers of all cases of a model, in their order."""
        path = model.write(self._folder / f"{model.name}.gguf")
        try:
            asked = [(path, at, case) for at, case in enumerate(cases)]
            yield from self._pool.map(lambda one: self._truth(*one), asked)
        finally:
            path.unlink()

    def _truth(self, path: Path, at: int, case: Case) -> Truth:
        log = self._folder / f"{at}.log"
        args = ["-m", str(path), *case.args]
        if "-sm" not in args:
            args += ["-dev", ",".join(d.name for d in machine().devices)]
        found = dry_run(self._runner, args, machine(), log_path=log)
        own, _ = apart(log.read_text(errors="replace").splitlines())
        facts = read_log(own)
        if found is None:
            return Truth(case=case, refused=_reason(facts))
        return Truth(
            case=case,
            devices=tuple(_seen(row) for row in found.devices),
            host=_host(found.host, facts),
            splits=found.graph_splits,
        )


def _seen(row: MemoryBreakdown) -> Seen:
    return Seen(
        model_mib=row.model_bytes // MIB,
        context_mib=(row.context_bytes or 0) // MIB,
        compute_bytes=row.compute_bytes or 0,
    )


def _host(row: MemoryBreakdown, facts: LogFacts) -> Seen:
    """The host's row, its compute buffer to 0.01 MiB.

    The buffer is logged under the name of the pinning device, or of the CPU.
    """
    listed = {device.buffer_type for device in machine().devices}
    exact = {
        buffer.device: buffer.n_bytes
        for buffer in facts.buffers
        if buffer.phase is Phase.COMPUTE and buffer.device not in listed
    }
    seen = _seen(row)
    return Seen(
        model_mib=seen.model_mib,
        context_mib=seen.context_mib,
        compute_bytes=sum(exact.values()) if exact else seen.compute_bytes,
    )


def _reason(facts: LogFacts) -> str:
    """Why there is no answer, without the time that stands before a log line."""
    errors = [line for line in facts.errors if "load_backend" not in line]
    line = facts.refused or facts.aborted or next(iter(errors), NO_ANSWER)
    return line.split(" E ", 1)[-1][:160]
