"""How a server answers when it is asked whether it is well."""

from __future__ import annotations

from enum import Enum

from placer.engine.http import HTTP_OK, open_http

LOADING_MODEL = 503
TIMEOUT_S = 2.0


class Health(Enum):
    """READY has its model loaded; LOADING answers, and has not; SILENT says nothing."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"


def health_of_status(status: int) -> Health:
    """The health that an HTTP status of ``/health`` tells."""
    known = {HTTP_OK: Health.READY, LOADING_MODEL: Health.LOADING}
    return known.get(status, Health.SILENT)


def health_of(base_url: str) -> Health:
    """The health of the server at ``base_url``, which needs no key."""
    import httpx

    try:
        with open_http(base_url, timeout_s=TIMEOUT_S) as http:
            return health_of_status(http.get("/health").status_code)
    except httpx.HTTPError:
        return Health.SILENT
