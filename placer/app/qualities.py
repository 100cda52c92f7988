"""What the cache types that were tried cost: each launched once on a short text."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from placer.app.rated import Rated
from placer.engine.predictions import predictions
from placer.tune.knobs import PLACEMENT, PLANNED
from placer.tune.quality import N_TOKENS, PLACES, TEXT, Quality, quality_of
from placer.tune.tried import Came

if TYPE_CHECKING:
    from placer.app.bench import LocalBench
    from placer.engine.predictions import Prediction
    from placer.tune.space import Space
    from placer.tune.tuner import Result

# Room for the text, and for the one token behind it.
CTX = 2 * N_TOKENS
SPARE_TOKENS = 8
Types = tuple[str, str]


def cache_types(space: Space) -> tuple[Types, ...]:
    """Types of keys and values that may be tried, without the start's."""
    names = [name for name in ("ctk", "ctv") if name in space.values]
    found: dict[Types, None] = {}
    for values in product(*(space.values[name] for name in names)):
        settings = space.settled(dict(zip(names, values, strict=True)))
        if space.objection(settings) is None:
            found[settings["ctk"], settings["ctv"]] = None
    found.pop((space.start["ctk"], space.start["ctv"]), None)
    return tuple(found)


def qualities(
    bench: LocalBench, result: Result, types: tuple[Types, ...]
) -> tuple[Quality, ...]:
    """Of those that were measured, as far as the budget goes and the engine answers.

    Args:
        bench: where they are launched.
        result: what was tried.
        types: that are of interest.
    """
    measured = {
        (tried.settings["ctk"], tried.settings["ctv"])
        for tried in result.tried
        if tried.came is Came.MEASURED
    }
    wanted = [one for one in types if one in measured]
    if not wanted or not bench.purse.allows(2):
        return ()
    reference = _asked(bench, (bench.start["ctk"], bench.start["ctv"]))
    found = []
    for one in wanted if reference else ():
        said = _asked(bench, one) if bench.purse.allows(1) else None
        if said is not None and reference is not None and len(said) == len(reference):
            found.append(quality_of(one, said, reference))
    return tuple(found)


def _asked(bench: LocalBench, types: Types) -> tuple[Prediction, ...] | None:
    """What the model expects with these types, all else as at the start."""
    changes = {"ctk": types[0], "ctv": types[1], PLACEMENT: PLANNED}
    desk = bench.under({**bench.start, **changes})
    ctx = min(desk.target.workload.ctx, CTX)
    short = replace(desk.target.workload, ctx=ctx, parallel=1, kv_unified=False)
    desk = desk.under(short)
    rated = bench.planned(desk)
    if not isinstance(rated, Rated):
        return None
    target = desk.target
    model = ("-m", str(target.file.path))
    began_s = time.monotonic()
    said = predictions(
        bench.rig.runner,
        (*model, *short.args(), *target.extra_args, *rated.args),
        TEXT,
        n_tokens=min(N_TOKENS, short.slot_ctx - SPARE_TOKENS),
        places=PLACES,
        log_path=bench.folder / f"quality-{'-'.join(types)}.log",
    )
    bench.purse.spend(time.monotonic() - began_s)
    return said
