"""How a server answers when it is asked whether it is well."""

from __future__ import annotations

from enum import Enum

HTTP_OK = 200
LOADING_MODEL = 503
TIMEOUT_S = 2.0


class Health(Enum):
    """READY has its model loaded; LOADING answers, and has not; SILENT says nothing."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"


def health_of(base_url: str) -> Health:
    """The health of the server at ``base_url``, which needs no key."""
    import httpx

    try:
        # trust_env would send loopback traffic through a proxy of the user's; a
        # certificate of the user's own making is as good as any here.
        answer = httpx.get(
            f"{base_url}/health",
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=False,  # noqa: S501
        )
    except httpx.HTTPError:
        return Health.SILENT
    if answer.status_code == HTTP_OK:
        return Health.READY
    return Health.LOADING if answer.status_code == LOADING_MODEL else Health.SILENT
