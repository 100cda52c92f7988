"""What a model expects to come next, token by token of a fixed text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.engine.http import open_http
from placer.engine.upright import NotUprightError, upright

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import httpx

    from placer.engine.process import Runner

# Token id -> logarithm of its probability, the likeliest of them.
Prediction = dict[int, float]

TIMEOUT_S = 600.0
# Likeliest tokens that are asked for at each place.
N_PROBS = 64


def predictions(
    runner: Runner,
    args: Sequence[str],
    text: str,
    *,
    n_tokens: int,
    places: int,
    log_path: Path,
) -> tuple[Prediction, ...] | None:
    """What comes next at some places of a text, by a server of its own.

    Args:
        runner: starts the engine.
        args: the flags of the launch.
        text: to read.
        n_tokens: of the text at most.
        places: at which it is asked, spread over the later part of the text.
        log_path: where the engine's output goes.

    Returns:
        None where the engine does not load, or does not say.
    """
    try:
        launch = upright(runner, args, log_path=log_path, patience_s=TIMEOUT_S)
        with launch as server:
            return expected(server.base_url, text, n_tokens=n_tokens, places=places)
    except NotUprightError:
        return None


def expected(
    base_url: str, text: str, *, n_tokens: int, places: int
) -> tuple[Prediction, ...] | None:
    """What comes next at some places of a text, by a server that is up.

    Args:
        base_url: where it answers.
        text: to read.
        n_tokens: of the text at most.
        places: at which it is asked, spread over the later part of the text.

    Returns:
        None where it does not say.
    """
    import httpx

    try:
        with open_http(base_url, timeout_s=TIMEOUT_S) as http:
            return _read(http, text, n_tokens, places)
    except (httpx.HTTPError, LookupError, TypeError, ValueError):
        return None


def _read(
    http: httpx.Client, text: str, n_tokens: int, places: int
) -> tuple[Prediction, ...]:
    """One question a place; what was read for the one before is not read again."""
    tokens = _answer(http, "/tokenize", {"content": text})["tokens"][:n_tokens]
    step = max(len(tokens) // (2 * places), 1)
    ends = range(len(tokens), len(tokens) // 2, -step)
    return tuple(_next(http, tokens[:end]) for end in sorted(ends))


def _next(http: httpx.Client, tokens: Sequence[int]) -> Prediction:
    body = {
        "prompt": list(tokens),
        "n_predict": 1,
        "n_probs": N_PROBS,
        "temperature": 0.0,
        "cache_prompt": True,
    }
    said = _answer(http, "/completion", body)["completion_probabilities"][0]
    return {int(one["id"]): float(one["logprob"]) for one in said["top_logprobs"]}


def _answer(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    answer = http.post(path, json=body)
    answer.raise_for_status()
    return answer.json()
