"""The study: nothing twice, nothing lost, nothing of another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from placer.errors import InputError
from placer.placement import Workload
from placer.tune import store as stores
from placer.tune.knobs import settings_of
from placer.tune.space import Space, key_of
from placer.tune.store import ASPECTS, Store, open_study, require_alike, require_optuna
from placer.tune.tried import Came, Pace, Tried

if TYPE_CHECKING:
    from pathlib import Path

    from placer.tune.store import Asked

WORK = Workload(ctx=4096, parallel=1, kv_unified=False)
START = {**settings_of(WORK, ()), "placement": "plan"}
VALUES = {"ub": ("512", "256", "1024"), "fa": ("auto", "off"), "ctk": ("f16", "q8_0")}
SPACE = Space(start=START, values=VALUES)
ALL = 3 * 2 * 2 - 3  # quantised values need flash attention


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the study lies."""
    return str(tmp_path / "study" / "optuna.journal")


def opened(path: str) -> Store:
    """The study, by whoever comes next."""
    return Store(study=open_study(path, "moe"), space=SPACE)


def measured(asked: Asked, decode: float = 100.0) -> Tried:
    """What a launch might have given."""
    return Tried(
        number=0,
        settings=asked.settings,
        came=Came.MEASURED,
        args=("-m", "x", "-ngl", "7"),
        pace=Pace(decode=decode, prefill=1000.0),
    )


def ask(store: Store) -> Asked:
    """What is next, which there is."""
    asked = store.ask()
    assert asked is not None
    return asked


def tell_all(store: Store) -> list[str]:
    """Keys of all that is asked until nothing is."""
    keys = []
    while (asked := store.ask()) is not None:
        store.tell(asked, measured(asked), 0.01)
        keys.append(key_of(asked.settings))
    return keys


def test_everything_is_asked_once(path: str) -> None:
    """Whatever Optuna likes best; nothing that the engine would not take."""
    keys = tell_all(opened(path))
    assert len(keys) == len(set(keys)) == ALL


def test_what_is_suggested_comes_first_and_once(path: str) -> None:
    """What is outside the values is not suggested at all."""
    store = opened(path)
    larger = {**START, "ub": "1024"}
    for settings in (START, larger, {**START, "ub": "4096"}, larger):
        store.suggest(settings)
    first, second = ask(store), ask(store)
    assert (first.settings, second.settings) == (START, larger)
    assert key_of(ask(store).settings) not in {key_of(START), key_of(larger)}


def test_what_was_told_is_there_for_the_next(path: str) -> None:
    """All of it, in order; and it is not asked again."""
    store = opened(path)
    asked = ask(store)
    store.tell(asked, measured(asked, 123.0), 0.01)
    unfit = ask(store)
    short = Tried(
        number=0,
        settings=unfit.settings,
        came=Came.DOES_NOT_FIT,
        why="120 MiB short on CUDA0 by dry run",
        short_bytes=120 << 20,
    )
    store.tell(unfit, short, None)
    again = opened(path)
    one, two = again.tried()
    assert (one.number, one.settings, one.pace) == (
        1,
        asked.settings,
        Pace(decode=123.0, prefill=1000.0),
    )
    assert (two.came, two.short_bytes) == (Came.DOES_NOT_FIT, 120 << 20)
    told = {key_of(asked.settings), key_of(unfit.settings)}
    assert len(told | set(tell_all(again))) == ALL
    assert again.study.trials[unfit.trial.number].constraints["memory"] > 0


def test_what_was_interrupted_is_asked_again(path: str) -> None:
    """Nothing was learned of it."""
    store = opened(path)
    store.suggest(START)
    for _ in range(3):
        store.interrupted(ask(store))
    assert key_of(START) in tell_all(store)


@pytest.mark.parametrize(
    ("changes", "deaths"), [({"since": 0.0}, 2), ({"since": 0.0, "boot": "another"}, 1)]
)
def test_what_killed_placer_twice_or_the_machine_once_is_not(
    path: str, changes: dict[str, Any], deaths: int
) -> None:
    """Whoever was killed says nothing any more."""
    for count in range(1, deaths + 1):
        store = opened(path)
        store.worker |= changes
        store.suggest(START)
        while key_of(ask(store).settings) != key_of(START):
            assert count <= deaths
        assert count == deaths or key_of(START) not in opened(path)._taken()
    assert key_of(START) not in tell_all(opened(path))


def test_what_others_try_now_is_left_to_them(path: str) -> None:
    """Two of a study never try the same."""
    one, two = opened(path), opened(path)
    mine = [key_of(ask(store).settings) for store in (one, two, one, two, one)]
    assert len(set(mine)) == 5


def test_what_is_confirmed_is_no_trial_of_its_own(path: str) -> None:
    """Optuna learns of it; the list of what was tried stays as it is."""
    store = opened(path)
    asked = ask(store)
    store.tell(asked, measured(asked), 0.01)
    store.add(measured(asked, 90.0), 0.011)
    assert len(store.tried()) == 1
    assert [t.value for t in store.study.trials] == [0.01, 0.011]


def test_a_torn_line_is_cut_off(path: str, tmp_path: Path) -> None:
    """It was being written when the machine went down."""
    store = opened(path)
    asked = ask(store)
    store.tell(asked, measured(asked), 0.01)
    file = tmp_path / "study" / "optuna.journal"
    file.write_bytes(file.read_bytes() + b'{"op_code": 4, "wor')
    assert len(opened(path).tried()) == 1
    assert len(tell_all(opened(path))) == ALL - 1


ABOUT = dict.fromkeys(ASPECTS, "x") | {"devices": [["RTX 4090", 24 << 30]]}


@pytest.mark.parametrize("aspect", ASPECTS)
def test_of_something_else_nothing_is_told(path: str, aspect: str) -> None:
    """One line says what it is of."""
    require_alike(open_study(path, "moe"), ABOUT)
    require_alike(open_study(path, "moe"), ABOUT)
    other = [["RTX 3060", 12 << 30]] if aspect == "devices" else "y"
    with pytest.raises(InputError, match=f"is of {ASPECTS[aspect]}") as caught:
        require_alike(open_study(path, "moe"), ABOUT | {aspect: other})
    if aspect == "devices":
        said = "RTX 4090 24576 MiB there, RTX 3060 12288 MiB here"
        assert said in str(caught.value)


def test_a_database_will_do(tmp_path: Path) -> None:
    """By its URL."""
    url = f"sqlite:///{tmp_path}/tune.db"
    store = opened(url)
    asked = ask(store)
    store.tell(asked, measured(asked), 0.01)
    assert len(opened(url).tried()) == 1


@pytest.mark.parametrize("url", ["nosuch://host/db", "sqlite:////no/such/folder/x.db"])
def test_no_storage_is_one_line(url: str) -> None:
    """Whatever the driver says."""
    with pytest.raises(InputError, match=r"--storage .* is of no use"):
        open_study(url, "moe")


def test_without_optuna_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is started."""
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'placer\[tune\]'"):
        require_optuna()
