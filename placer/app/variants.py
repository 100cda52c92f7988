"""The two profiles of a model: the one for work, and the one for benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.placement.arguments import flag_values
from placer.profiles import read_arguments
from placer.profiles.extra_args import given_arguments, rewrite
from placer.profiles.values import LAYERS_AUTO, layers_text, switch_text

if TYPE_CHECKING:
    from collections.abc import Container

    from placer.profiles import Profile

PRODUCTION, BENCH = "production", "bench"
PREFIX = "bench-"
CTX = 10_240
BATCHES = ("-b", "512", "-ub", "512")
# What keys say, and EXTRA_ARGS must not say again.
KEY_FLAGS = frozenset({"-c", "-ngl", "-fit", "-fitt"})
# llama-server places the model by itself: -ngl with a number would turn --fit off.
UNPLACED = {"N_GPU_LAYERS": layers_text(LAYERS_AUTO), "FIT": switch_text(on=True)}


def parse_variants(text: str) -> tuple[str, ...]:
    """``"production,bench"``, or one of them; the production profile comes first.

    Raises:
        InputError: it names something else, or nothing.
    """
    names = text.split(",")
    for name in names:
        if name not in (PRODUCTION, BENCH):
            hint = f"give {PRODUCTION}, {BENCH}, or both with a comma between"
            raise InputError(f"{name!a} is no variant of a profile", hint=hint)
    return tuple(name for name in (PRODUCTION, BENCH) if name in names)


def variant_id(production: str, variant: str) -> str:
    """The id of a variant of a profile."""
    return PREFIX + production if variant == BENCH else production


def production_of(profile_id: str, ids: Container[str]) -> str | None:
    """The profile of which this one is the bench variant; None where it is none."""
    base = profile_id.removeprefix(PREFIX)
    is_variant = base != profile_id and not base.startswith(PREFIX)
    return base if is_variant and base in ids else None


def bench_values(production: Profile, trained: int) -> dict[str, str]:
    """The keys of the bench variant: the same model and flags, a short context.

    It has no placement yet, so llama-server places it until a search has found one;
    on the same devices, where the production profile names some.

    Args:
        production: the profile for work.
        trained: tokens of context that the model was trained for, 0 for not known.
    """
    devices = flag_values(read_arguments(production)).get("-dev")
    extra_args = rewrite(
        " ".join(production.extra_args),
        placed=() if devices is None else given_arguments(("-dev", devices)),
        settings={a.name: a for a in given_arguments(BATCHES) if a.name},
        elsewhere=KEY_FLAGS,
    )
    return {
        "NAME": f"Bench {production.name or production.id}",
        "DESCRIPTION": f"Benchmarks, {CTX // 1024}K context",
        "MODEL": production.model or "",
        "CTX_SIZE": str(min(CTX, trained or CTX)),
        **UNPLACED,
        "EXTRA_ARGS": extra_args,
    }


def placing_comment(profile_id: str) -> str:
    """What stands above a profile that has no placement yet; true ever after too."""
    return (
        "With FIT=on llama-server places it by itself; "
        f"`placer optimize {profile_id}` proves one."
    )


def bench_comment(production: str) -> str:
    """What stands above the bench variant of a profile."""
    return f"The bench variant of [{production}]: short context, small batches."
