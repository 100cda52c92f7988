"""``--vary`` and ``--base`` -> what is varied, and what a cell asks of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.target import HIDING_FLAGS
from placer.errors import InputError
from placer.experiment.design import Factor
from placer.placement.arguments import flag_values, option_of, read_tokens
from placer.tune.knobs import AUTO, KNOBS, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.app.target import Target
    from placer.experiment.design import Cell
    from placer.placement.arguments import Option

ON, OFF = "on", "off"
# Keys and values in one type.
KV, KV_FLAGS = "kv", ("ctk", "ctv")
# Of a number of threads: half of the cores, all cores, all that they run at once.
HALF, CORES, THREADS = "half", "cores", "threads"
EXAMPLE = "write --vary temp=0.6,0.8 or --vary ctk=q8_0,q4_0"
# What placer itself decides or needs, or what would be another model.
OURS = frozenset(
    {*HIDING_FLAGS, "-m", "--model", "--host", "--port", "-dev", "--rpc"}
    | {"-fit", "-fitt", "-fitc", "-mm", "-md"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A sampling parameter, which every request says anew.

    Attributes:
        field: of the request.
        spellings: its flag, for what the profile says.
        usual: what the engine does where nobody says; None where that is by chance.
        is_whole: whether it is a whole number.
    """

    field: str
    spellings: tuple[str, ...]
    usual: str | None
    is_whole: bool = False


# common.h:233-245 and server-schema.cpp, build 11434.
SAMPLERS = {
    "temp": Sampler(
        field="temperature", spellings=("--temp", "--temperature"), usual="0.8"
    ),
    "top-p": Sampler(field="top_p", spellings=("--top-p",), usual="0.95"),
    "top-k": Sampler(field="top_k", spellings=("--top-k",), usual="40", is_whole=True),
    "min-p": Sampler(field="min_p", spellings=("--min-p",), usual="0.05"),
    "typical-p": Sampler(
        field="typical_p", spellings=("--typical", "--typical-p"), usual="1.0"
    ),
    "repeat-penalty": Sampler(
        field="repeat_penalty", spellings=("--repeat-penalty",), usual="1.0"
    ),
    "presence-penalty": Sampler(
        field="presence_penalty", spellings=("--presence-penalty",), usual="0.0"
    ),
    "frequency-penalty": Sampler(
        field="frequency_penalty", spellings=("--frequency-penalty",), usual="0.0"
    ),
    "seed": Sampler(
        field="seed", spellings=("-s", "--seed"), usual=None, is_whole=True
    ),
}
_SAMPLER_NAMES = {
    spelling.lstrip("-"): name
    for name, sampler in SAMPLERS.items()
    for spelling in (name, *sampler.spellings)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A factor, and what its values are to the server.

    Attributes:
        factor: what the statistics know of it.
        own: what the server does where nothing is said; None where that is not known.
        sampler: where it is a sampling parameter.
        batch: the logical batch, which a larger physical one raises; None for others.
    """

    factor: Factor
    own: str | None = None
    sampler: Sampler | None = None
    batch: int | None = None

    @property
    def name(self) -> str:
        """Of the factor."""
        return self.factor.name

    def tokens(self, value: str) -> tuple[str, ...]:
        """Flags of llama-server; none for what it does anyhow."""
        if self.sampler is not None or (self.own and _same(value, self.own)):
            return ()
        if self.name == KV:
            return tuple(t for flag in KV_FLAGS for t in (f"-{flag}", value))
        raised: tuple[str, ...] = ()
        if self.batch is not None and int(value) > self.batch:
            raised = ("-b", value)
        return (*raised, *_flag_tokens(self.name, value))

    def fields(self, value: str) -> dict[str, Any]:
        """Fields of a request."""
        if self.sampler is None:
            return {}
        number = int(value) if self.sampler.is_whole else float(value)
        return {self.sampler.field: number}


def tokens_of(varied: Sequence[Varied], settings: Cell) -> tuple[str, ...]:
    """Flags of a launch with these settings, behind the profile's own."""
    known = [one for one in varied if one.name in settings]
    return tuple(t for one in known for t in one.tokens(settings[one.name]))


def sampling_of(varied: Sequence[Varied], cell: Cell) -> dict[str, Any]:
    """What a request of this cell says beside its prompt."""
    return {k: v for one in varied for k, v in one.fields(cell[one.name]).items()}


def parse_varied(
    vary: Sequence[str], base: Sequence[str], target: Target
) -> tuple[Varied, ...]:
    """What is varied for a profile.

    A factor's base is the one that ``base`` names, else what the profile says or the
    engine does anyhow, else its first value. It is one of the values.

    Raises:
        InputError: what cannot be varied, or values that the engine would refuse.
    """
    values = _given(vary, "--vary")
    bases = _given(base, "--base")
    if not values:
        raise InputError("nothing is varied", hint=f"{EXAMPLE}, or --experiment")
    for name, given in bases.items():
        if name not in values or len(given) > 1:
            raise InputError(
                f"--base {name}={','.join(given)} is no base",
                hint="give one value of something that --vary names",
            )
    if KV in values and any(flag in values for flag in KV_FLAGS):
        raise InputError(
            f"{KV} is ctk and ctv together", hint="vary it, or ctk and ctv"
        )
    named = {name: found[0] for name, found in bases.items()}
    return tuple(
        _varied(name, found, named.get(name), target, values)
        for name, found in values.items()
    )


def _given(texts: Sequence[str], flag: str) -> dict[str, tuple[str, ...]]:
    """``temp=0.6,0.8`` by name; ``ts=3,1;2,2`` where values have commas."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        said, equals, rest = text.partition("=")
        name = _name(said.strip())
        parts = rest.split(";" if ";" in rest else ",")
        values = dict.fromkeys(part.strip() for part in parts if part.strip())
        if not equals or not name or not values:
            raise InputError(f"{flag} {text!r} names no values", hint=EXAMPLE)
        if name in found:
            raise InputError(
                f"{flag} {name} is given twice", hint="give all values in one"
            )
        found[name] = tuple(values)
    return found


def _name(said: str) -> str:
    """One name for every spelling, without dashes."""
    bare = said.lstrip("-").replace("_", "-")
    if bare in _SAMPLER_NAMES:
        return _SAMPLER_NAMES[bare]
    option = _option(bare)
    full = f"--{bare}" if option is None else option.name
    if {full, f"-{bare}"} & OURS:
        raise InputError(f"{said!r} is nothing to vary", hint=EXAMPLE)
    return bare if option is None else option.name.lstrip("-")


def _option(bare: str) -> Option | None:
    return option_of(f"--{bare}") or option_of(f"-{bare}")


def _varied(
    name: str,
    values: tuple[str, ...],
    base: str | None,
    target: Target,
    given: Mapping[str, object],
) -> Varied:
    sampler = SAMPLERS.get(name)
    own = _own_sampling(sampler, target) if sampler else _own_flag(name, target)
    found: list[str] = []
    for value in (_settled(name, value) for value in values):
        if not any(_same(value, other) for other in found):
            found.append(value)
    wanted = own if base is None else _settled(name, base)
    known = next((one for one in found if wanted and _same(one, wanted)), wanted)
    levels = tuple(found) if known is None or known in found else (known, *found)
    for value in levels:
        _check(name, value)
    if len(levels) == 1:
        raise InputError(
            f"{name} is {levels[0]} anyhow, and nothing else is to be tried",
            hint="give two values or more",
        )
    is_free = name == "ub" and "b" not in given
    return Varied(
        factor=Factor(
            name=name,
            values=levels,
            base=levels[0] if known is None else known,
            restarts=sampler is None,
        ),
        own=own,
        sampler=sampler,
        batch=target.workload.batch if is_free else None,
    )


def _settled(name: str, value: str) -> str:
    """The number of threads that a word stands for here."""
    if name not in ("t", "tb") or value not in (HALF, CORES, THREADS):
        return value
    import psutil

    threads = psutil.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or threads
    return str({HALF: max(cores // 2, 1), CORES: cores, THREADS: threads}[value])


def _check(name: str, value: str) -> None:
    """Check a value.

    Raises:
        InputError: the engine would refuse it.
    """
    sampler, option = SAMPLERS.get(name), _option(name)
    if sampler is not None:
        try:
            int(value) if sampler.is_whole else float(value)
        except ValueError:
            raise InputError(
                f"{name}={value} is no number", hint=f"write --vary {name}=0.6,0.8"
            ) from None
    elif name == KV:
        for flag in KV_FLAGS:
            KNOBS[flag].check(value)
    elif name in KNOBS:
        KNOBS[name].check(value)
    elif option is not None and not option.takes_value and value not in (ON, OFF):
        raise InputError(
            f"{name}={value} is no setting", hint=f"write --vary {name}=on,off"
        )


def _flag_tokens(name: str, value: str) -> tuple[str, ...]:
    option = _option(name)
    if option is not None and option.takes_value:
        return option.name, "-1" if value == AUTO and name in KNOBS else value
    if option is not None:
        spelled = option.spellings if value == ON else option.off
        return spelled[:1]
    if value in (ON, OFF):
        return (f"--{name}" if value == ON else f"--no-{name}",)
    return f"--{name}", value


def _own_sampling(sampler: Sampler, target: Target) -> str | None:
    said = _said(target.extra_args, sampler.spellings)
    return sampler.usual if said is None else said


def _own_flag(name: str, target: Target) -> str | None:
    """What the profile says, else what is known of the engine."""
    settings = settings_of(target.workload, target.extra_args)
    if name == KV:
        types = {settings[flag] for flag in KV_FLAGS}
        return types.pop() if len(types) == 1 else None
    option = _option(name)
    if option is None:
        return _said(target.extra_args, (f"--{name}",))
    said = flag_values(read_tokens((*target.extra_args, *target.placement_args)))
    return said.get(option.name, settings.get(name))


def _said(tokens: Sequence[str], spellings: Sequence[str]) -> str | None:
    """The value behind the last token that is one of these."""
    at = [index for index, token in enumerate(tokens[:-1]) if token in spellings]
    return tokens[at[-1] + 1] if at else None


def _same(value: str, other: str) -> bool:
    """Whether they are the same number, or the same word."""
    try:
        return float(value) == float(other)
    except ValueError:
        return value == other
