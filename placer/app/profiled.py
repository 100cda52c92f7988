"""What is known of each profile: its model, its proof, and whether that still holds."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from placer.app.target import model_path
from placer.app.variants import production_of
from placer.errors import InputError, MachineError
from placer.gguf import read_gguf
from placer.profiles import read_conf, read_proved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.target import Folders
    from placer.app.where import Where
    from placer.gguf import GGUFFile
    from placer.profiles import Conf, Profile, Proved


class State(Enum):
    """What a profile is worth, in one word."""

    PROVED = "proved"
    STALE = "stale"
    UNPROVED = "not-proved"
    NO_MODEL = "no-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One profile, and what its files say of it.

    Attributes:
        profile: as models.conf has it.
        production: the profile of which it is the bench variant; None where it is none.
        ctx: tokens of context; that of the model where the profile does not say.
        model_bytes: of all files of the model; None where it is not there, or damaged.
        problem: what is wrong with the model; None where nothing is.
        proved: the proof beside it; None where there is none.
        stale: why the proof is not of what would be started now; empty where it is.
    """

    profile: Profile
    production: str | None
    ctx: int | None
    model_bytes: int | None
    problem: str | None
    proved: Proved | None
    stale: tuple[str, ...]

    @property
    def state(self) -> State:
        """The same in one word."""
        if self.problem is not None:
            return State.NO_MODEL
        if self.proved is None:
            return State.UNPROVED
        return State.STALE if self.stale else State.PROVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles of a file.

    Attributes:
        conf: the file.
        known: in its order, a bench variant behind its production profile.
        engine: the build that would be started; None where it was not asked.
    """

    conf: Conf
    known: tuple[Known, ...]
    engine: str | None


def profiles(where: Where, *, ask_engine: bool = True) -> Profiles:
    """What models.conf says of each profile, and what of it still holds.

    Nothing is launched: the engine is asked for its build, where a proof names one.

    Args:
        where: the files, and the engine.
        ask_engine: whether the engine may be asked.

    Raises:
        InputError: models.conf cannot be read.
        MachineError: ``where`` names an engine that is not there.
    """
    conf = read_conf(where.folders.conf_path)
    proofs = (read_proved(profile) for profile in conf.profiles)
    is_of_use = any(one is not None and not one.emulated for one in proofs)
    build = engine_build(where) if ask_engine and is_of_use else None
    return Profiles(
        conf=conf, known=known_profiles(conf, where.folders, build), engine=build
    )


def engine_build(where: Where) -> str | None:
    """What the engine on PATH calls itself; None where there is none.

    A container would have to be started to ask it, and is not.

    Raises:
        MachineError: ``where`` names one that is not there.
    """
    if where.image is not None:
        return None
    from placer.engine.binary import Engine, find_binary, identify

    try:
        with tempfile.TemporaryDirectory(prefix="placer-") as home:
            return identify(
                Engine(binary=find_binary(where.server), config_home=Path(home))
            )
    except MachineError:
        if where.server is not None:
            raise
        return None


def known_profiles(
    conf: Conf, folders: Folders, engine: str | None
) -> tuple[Known, ...]:
    """What is known of the profiles of a file, each bench variant behind its own.

    Args:
        conf: the file.
        folders: where models are.
        engine: the build that would be started; None for not known.
    """
    models = _Models(folders)
    ids = [profile.id for profile in conf.profiles]
    known = [_known(profile, models, ids, engine) for profile in conf.profiles]
    return tuple(
        one
        for leader in known
        if leader.production is None
        for one in (leader, *_variants(known, leader.profile.id))
    )


def _variants(known: Sequence[Known], production: str) -> Iterator[Known]:
    return (one for one in known if one.production == production)


class _Models:
    """The headers of models, each read once, however many profiles name it."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._read: dict[str, GGUFFile | InputError] = {}

    def file(self, model: str) -> GGUFFile | InputError:
        """The header, or what is wrong with it."""
        if model not in self._read:
            try:
                self._read[model] = read_gguf(model_path(model, self._folders))
            except InputError as error:
                self._read[model] = error
        return self._read[model]


def _known(
    profile: Profile, models: _Models, ids: Sequence[str], engine: str | None
) -> Known:
    model: GGUFFile | InputError = InputError("has no MODEL")
    if profile.model is not None:
        model = models.file(profile.model)
    file = None if isinstance(model, InputError) else model
    proved = read_proved(profile)
    return Known(
        profile=profile,
        production=production_of(profile.id, ids),
        ctx=profile.ctx_size or (None if file is None else _trained(file)),
        model_bytes=None if file is None else file.size_bytes,
        problem=_problem(model) if isinstance(model, InputError) else None,
        proved=proved,
        stale=() if proved is None else tuple(_stale(profile, proved, file, engine)),
    )


def _problem(error: InputError) -> str:
    """What is wrong with a model, in few words: the whole of it is an error's."""
    name = "" if error.path is None else f"{error.path.name}: "
    return f"{name}{error.problem}".partition("; looked for")[0]


def _trained(file: GGUFFile) -> int | None:
    value = file.metadata.get(
        f"{file.metadata.get('general.architecture')}.context_length"
    )
    return value if isinstance(value, int) else None


def _stale(
    profile: Profile, proved: Proved, file: GGUFFile | None, engine: str | None
) -> Iterator[str]:
    """Why the proof is of something else, in words."""
    if not profile.provenance_holds:
        yield "edited since"
    if proved.model is not None and file is not None:
        from placer.app.study import fingerprint

        if fingerprint(file) != proved.model:
            yield "another model since"
    # Emulated devices have an engine of their own.
    if not proved.emulated and engine is not None and proved.engine != engine:
        yield f"proved on engine {proved.engine}, now {engine}"
