"""How a server is reached over HTTP, whoever asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

HTTP_OK = 200


def open_http(
    base_url: str,
    *,
    timeout_s: float,
    connect_s: float | None = None,
    key: str | None = None,
) -> httpx.Client:
    """A client of one server; close it when done.

    Args:
        base_url: where it answers, without a final slash.
        timeout_s: how long one answer is waited for.
        connect_s: how long a connection is waited for, where that is not as long.
        key: of a server that wants one.
    """
    import httpx

    return httpx.Client(
        base_url=base_url,
        timeout=httpx.Timeout(timeout_s, connect=connect_s or timeout_s),
        headers={} if key is None else {"Authorization": f"Bearer {key}"},
        # It would send loopback traffic through a proxy of the user's.
        trust_env=False,
        # A certificate of the user's own making is as good as any here; and all
        # certificates of the system would be read first.
        verify=False,  # noqa: S501
    )
