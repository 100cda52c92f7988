"""The study: what Optuna proposes and is told, on disk before the next launch.

A trial is COMPLETE where it was measured, PRUNED with a constraint violated where it
does not fit or does not run, and FAIL where nothing was learned: it was interrupted,
or it proposes what was tried before.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import InputError, JournalError
from placer.machine.host import boot_id
from placer.tune.space import key_of
from placer.tune.tried import Came, Pace, Tried
from placer.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import optuna

    from placer.tune.knobs import Settings
    from placer.tune.space import Space

SEED = 11434
# Proposals that amount to what was tried before one is picked that does not.
REPEATS = 8
# Trials before proposals follow what was seen.
STARTUP = 6
# Settings under way so often when placer died are not tried again.
DEATHS = 2
ABOUT = "placer"
CONFIRMING = "confirming"
# What a study is of, in the order in which it is compared, and what to say of another.
ASPECTS = {
    "devices": "other devices",
    "model": "another model",
    "engine": "another build of the engine",
    "workload": "another context, batch or cache type to start from",
    "goal": "another goal",
    "start": "other settings to start from",
    "extra_args": "other flags",
    "values": "other values to vary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Settings that are to be tried next."""

    settings: Settings
    trial: optuna.Trial

    @property
    def name(self) -> str:
        """Of its log."""
        return f"{self.trial.number + 1:03d}"


def require_optuna() -> None:
    """Check that there is a library to propose settings.

    Raises:
        InputError: there is none.
    """
    if find_spec("optuna") is None:
        raise InputError(
            "tuning needs optuna, which is not installed",
            hint="pip install 'placer[tune]'",
        )


def open_study(storage: str, name: str) -> optuna.Study:
    """The study of that name, made if it is not there.

    Args:
        storage: a URL that Optuna knows, or the path of a journal file.
        name: of the study.

    Raises:
        InputError: there is no such storage, or it is damaged.
        JournalError: it cannot be written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.create_study(
                study_name=name,
                storage=storage if "://" in storage else _journal(Path(storage)),
                load_if_exists=True,
            )
    except OSError as error:
        raise JournalError(
            f"cannot be written: {error.strerror}",
            path=storage,
            hint="free some space or give another folder with --logs",
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever a database's driver raises
        raise InputError(
            f"--storage {storage} is of no use: {type(error).__name__}: {error}",
            hint="give a file, or a URL such as sqlite:///tune.db",
        ) from None


def _journal(path: Path) -> optuna.storages.JournalStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    return JournalStorage(JournalFileBackend(str(path)))


def _mend(path: Path) -> None:
    """Cut off what was being written when the machine went down."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def require_alike(study: optuna.Study, about: Mapping[str, Any]) -> None:
    """Write down what a study is of; of another nothing is to be told to it.

    Raises:
        InputError: it is of other devices, or of something else that decides.
    """
    if ABOUT not in study.user_attrs:
        study.set_user_attr(ABOUT, dict(about))
    known = study.user_attrs[ABOUT]
    for aspect, words in ASPECTS.items():
        if known.get(aspect) == about[aspect]:
            continue
        found = ""
        if aspect == "devices":
            theirs, ours = (_cards(one[aspect]) for one in (known, about))
            found = f": {theirs} there, {ours} here"
        raise InputError(
            f"the study {study.study_name} is of {words}{found}",
            hint="tune without --resume, or in another --storage",
        )


def _cards(devices: Sequence[tuple[str, int]]) -> str:
    return " + ".join(f"{name} {total >> 20} MiB" for name, total in devices)


def _worker() -> dict[str, Any]:
    """This process, so that others can tell whether it is still there."""
    import psutil

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": psutil.Process().create_time(),
        "boot": boot_id(),
    }


@dataclass(kw_only=True)
class Store:
    """A study that is open."""

    study: optuna.Study
    space: Space
    worker: dict[str, Any] = field(default_factory=_worker)

    def __post_init__(self) -> None:
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(
            seed=SEED + len(self.study.trials),
            multivariate=True,
            constant_liar=True,
            n_startup_trials=STARTUP,
        )
        self._give_up_the_dead()

    @cached_property
    def distributions(self) -> dict[str, Any]:
        """What Optuna chooses from."""
        from optuna.distributions import CategoricalDistribution

        return {
            name: CategoricalDistribution(values)
            for name, values in self.space.values.items()
        }

    def suggest(self, settings: Settings) -> None:
        """Try these soon, if they may be tried and were not."""
        values = self.space.values
        asked = {name: settings[name] for name in values}
        is_new = key_of(self.space.settled(asked)) not in self._taken()
        if is_new and all(value in values[name] for name, value in asked.items()):
            self.study.enqueue_trial(asked, skip_if_exists=True)

    def ask(self) -> Asked | None:
        """What to try next, never what was tried; None where nothing is left."""
        from optuna.trial import TrialState

        for attempt in count():
            taken = self._taken()
            if attempt >= REPEATS:
                new = self.space.untried(taken, SEED + attempt)
                if new is None:
                    return None
                self.study.enqueue_trial(new)
            trial = self.study.ask(self.distributions)
            settings = self.space.settled(trial.params)
            objection = self.space.objection(settings)
            if objection is None and key_of(settings) not in taken:
                trial.set_user_attr("settings", settings)
                trial.set_user_attr("worker", self.worker)
                return Asked(settings=settings, trial=trial)
            if objection is not None:
                trial.set_constraint("legal", 1.0)
            state = TrialState.FAIL if objection is None else TrialState.PRUNED
            self.study.tell(trial, state=state)
        raise AssertionError("there is always a next attempt")

    def tell(self, asked: Asked, tried: Tried, cost: float | None) -> None:
        """What became of it: a cost where it was measured."""
        from optuna.trial import TrialState

        for name, value in _attributes(tried).items():
            asked.trial.set_user_attr(name, value)
        if cost is not None:
            self.study.tell(asked.trial, cost)
            return
        if tried.came in (Came.FAILED, Came.REFUSED):
            asked.trial.set_constraint("runs", 1.0)
        else:
            short = (tried.short_bytes or 0) / GIB
            asked.trial.set_constraint("memory", short if short > 0 else 1.0)
        self.study.tell(asked.trial, state=TrialState.PRUNED)

    def interrupted(self, asked: Asked) -> None:
        """Nothing was learned of it; it may be asked again."""
        from optuna.trial import TrialState

        asked.trial.set_user_attr("interrupted", True)
        self.study.tell(asked.trial, state=TrialState.FAIL)

    def add(self, tried: Tried, cost: float) -> None:
        """Something that was measured again."""
        from optuna.trial import create_trial

        self.study.add_trial(
            create_trial(
                value=cost,
                params={name: tried.settings[name] for name in self.space.values},
                distributions=self.distributions,
                user_attrs={
                    **_attributes(tried),
                    "settings": dict(tried.settings),
                    CONFIRMING: True,
                },
            )
        )

    def tried(self) -> tuple[Tried, ...]:
        """All that is known, by whomever it was tried; what was confirmed left out."""
        found = [t for t in self.study.trials if "came" in t.user_attrs]
        asked = [t for t in found if not t.user_attrs.get(CONFIRMING)]
        return tuple(
            _tried(number, trial.user_attrs) for number, trial in enumerate(asked, 1)
        )

    def _taken(self) -> set[str]:
        """Keys of what was tried, of what others try, and of what is too dangerous."""
        return set(self._keys())

    def _keys(self) -> Iterator[str]:
        deaths: Counter[str] = Counter()
        for trial in self.study.trials:
            known = trial.user_attrs
            if "settings" not in known:
                continue
            key = key_of(known["settings"])
            if trial.state.name != "FAIL":
                yield key
            elif not known.get("interrupted"):
                # Placer died, or the machine went down with it.
                theirs = known.get("worker", {})
                is_same_boot = theirs.get("boot") == self.worker["boot"]
                is_ours = theirs.get("host") == self.worker["host"]
                deaths[key] += 1 if is_same_boot or not is_ours else DEATHS
        yield from (key for key, n in deaths.items() if n >= DEATHS)

    def _give_up_the_dead(self) -> None:
        """Trials of this machine whose process is gone are not under way any more."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            theirs = trial.user_attrs.get("worker")
            if theirs is None or (
                theirs["host"] == self.worker["host"] and not _is_alive(theirs)
            ):
                self.study.tell(trial.number, state=TrialState.FAIL)


def _is_alive(theirs: Mapping[str, Any]) -> bool:
    import psutil

    try:
        found = psutil.Process(theirs["pid"])
        return abs(found.create_time() - float(theirs["since"])) < 1
    except psutil.Error:
        return False


def _attributes(tried: Tried) -> dict[str, Any]:
    """What the study keeps of it beside its settings."""
    pace = tried.pace
    return {
        "came": tried.came.value,
        "args": list(tried.args),
        "pace": None if pace is None else [pace.decode, pace.prefill],
        "why": tried.why,
        "short_bytes": tried.short_bytes,
        "record": None if tried.record is None else dict(tried.record),
    }


def _tried(number: int, known: Mapping[str, Any]) -> Tried:
    pace = known["pace"]
    return Tried(
        number=number,
        settings=known["settings"],
        came=Came(known["came"]),
        args=tuple(known["args"]),
        pace=None if pace is None else Pace(decode=pace[0], prefill=pace[1]),
        why=known["why"],
        short_bytes=known["short_bytes"],
        record=known["record"],
    )
