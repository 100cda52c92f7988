"""What can be tuned, each by its flag; settings, and what they make of a launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from placer.errors import InputError
from placer.placement.arguments import option_of
from placer.placement.workload import INT32_MAX, KV_TYPES, PLAIN_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.placement import Workload

# A value for each knob, by its name, as llama-server's flags spell it.
Settings = Mapping[str, str]

# Of a number of threads: the engine takes as many as there are cores.
AUTO = "auto"
# Of the knob that is no flag: the placement of models.conf, or the planner's.
OWN, PLANNED = "own", "plan"
SWITCH = ("on", "off")
# Bits an element, scales included: ggml-common.h. Of equal bits the first loses less.
BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "iq4_nl": 4.5,
    "q4_0": 4.5,
}
# Below it quality suffers, and nothing is chosen that nobody asked for.
SAFE_BITS = BITS["q8_0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One thing to turn.

    Attributes:
        name: the flag without its dashes.
        field: of the workload, None for what is none of it.
        words: the values it can have; None for whole numbers.
    """

    name: str
    field: str | None = None
    words: tuple[str, ...] | None = None

    def check(self, value: str) -> None:
        """Check a value that somebody gave.

        Raises:
            InputError: the engine would refuse it.
        """
        if self.words is not None:
            if value not in self.words:
                raise InputError(
                    f"{self.name}={value} is no setting",
                    hint=f"use some of {', '.join(self.words)}",
                )
            return
        if self.field is None and value == AUTO:
            return
        if not value.isdecimal() or not 1 <= int(value) <= INT32_MAX:
            raise InputError(
                f"{self.name}={value} is no number from 1 to {INT32_MAX}",
                hint=f"write --vary {self.name}=512,1024",
            )


KNOBS = {
    knob.name: knob
    for knob in (
        Knob(name="ub", field="ubatch"),
        Knob(name="b", field="batch"),
        Knob(name="ctk", field="type_k", words=KV_TYPES),
        Knob(name="ctv", field="type_v", words=KV_TYPES),
        Knob(name="fa", field="flash_attn", words=("on", "off", "auto")),
        Knob(name="op-offload", field="op_offload", words=SWITCH),
        Knob(name="np", field="parallel"),
        Knob(name="t"),
        Knob(name="tb"),
        Knob(name="sm", words=("layer", "row", "tensor")),
    )
}
PLACEMENT = "placement"
THREADS = ("t", "tb")


def knob_of(text: str) -> Knob:
    """The knob that a person calls so: ``ub``, ``-ub``, ``ubatch-size``.

    Raises:
        InputError: it cannot be tuned.
    """
    bare = text.lstrip("-")
    for spelling in (f"-{bare}", f"--{bare}"):
        option = option_of(spelling)
        name = "" if option is None else option.name.lstrip("-")
        if name in KNOBS:
            return KNOBS[name]
    raise InputError(
        f"{text!r} is nothing to vary", hint=f"there are {', '.join(KNOBS)}"
    )


def parse_vary(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Values by knob, of ``ub=512,1024`` and the like.

    Raises:
        InputError: no such knob, no values, or one that the engine would refuse.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        knob = knob_of(name.strip())
        values = tuple(dict.fromkeys(v.strip() for v in rest.split(",") if v.strip()))
        if not equals or not values:
            raise InputError(
                f"--vary {text!r} names no values", hint="write --vary ub=512,1024"
            )
        if knob.name in found:
            raise InputError(
                f"--vary {knob.name} is given twice", hint="give all values in one"
            )
        for value in values:
            knob.check(value)
        found[knob.name] = values
    return found


def settings_of(work: Workload, extra_args: Sequence[str]) -> dict[str, str]:
    """What a workload and the flags beside it say, for every knob that is a flag."""
    found = {
        knob.name: _text(getattr(work, knob.field))
        for knob in KNOBS.values()
        if knob.field is not None
    }
    _, threads = _apart(extra_args)
    threads = {"t": AUTO, "tb": threads.get("t", AUTO)} | threads
    return found | threads | {"sm": "layer"}


def workload_under(work: Workload, settings: Settings) -> Workload:
    """The workload with what the settings say.

    Raises:
        InputError: together they are nothing that the engine would take.
    """
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        field = KNOBS[name].field if name in KNOBS else None
        if field is None:
            continue
        now = getattr(work, field)
        if isinstance(now, bool):
            changes[field] = value == "on"
        else:
            changes[field] = int(value) if isinstance(now, int) else value
    return replace(work, **changes)


def extra_under(
    extra_args: Sequence[str], settings: Settings, start: Settings
) -> tuple[str, ...]:
    """The flags beside the workload, with the threads that the settings say."""
    if all(settings[name] == start[name] for name in THREADS):
        return tuple(extra_args)
    rest, _ = _apart(extra_args)
    return (*rest, *thread_args(settings))


def thread_args(settings: Settings) -> tuple[str, ...]:
    """``-t`` and ``-tb``; as many as there are cores is -1."""
    args: list[str] = []
    for name in THREADS:
        value = settings[name]
        args += [f"-{name}", "-1" if value == AUTO else value]
    return tuple(args)


def costs_quality(settings: Settings, start: Settings) -> bool:
    """Whether keys or values are kept in fewer bits than is safe, and than before."""
    return any(
        BITS[settings[name]] < min(SAFE_BITS, BITS[start[name]])
        for name in ("ctk", "ctv")
    )


def changes_of(settings: Settings, start: Settings) -> dict[str, str]:
    """What is not as at the start."""
    return {name: value for name, value in settings.items() if value != start[name]}


def words_of(changes: Settings) -> str:
    """``"ub=1024 ctk=q8_0"``; of no change, that."""
    if changes == {PLACEMENT: PLANNED}:
        return "as planned"
    said = [f"{k}={v}" for k, v in changes.items() if k != PLACEMENT]
    return " ".join(said) or "as it stands"


def is_quantised(kind: str) -> bool:
    """Whether a cache of that type is kept in blocks."""
    return kind not in PLAIN_TYPES


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _apart(extra_args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The flags that are not about threads, and what those that are say."""
    rest: list[str] = []
    said: dict[str, str] = {}
    tokens = iter(extra_args)
    for token in tokens:
        option = option_of(token)
        name = "" if option is None else option.name.lstrip("-")
        if name not in THREADS:
            rest.append(token)
            continue
        value = next(tokens, AUTO)
        said[name] = value if value.isdecimal() and int(value) > 0 else AUTO
    return rest, said
