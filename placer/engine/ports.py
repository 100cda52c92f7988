"""Who listens on a port of this host."""

from __future__ import annotations

import socket

from placer.errors import MachineError


def require_free(host: str, port: int) -> None:
    """Check that a server can listen there.

    Raises:
        MachineError: somebody does already, or it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except socket.gaierror:
            raise MachineError(
                f"--host {host} is no address of this machine", hint="give 127.0.0.1"
            ) from None
        except OSError as error:
            raise MachineError(
                f"port {port} of {host}: {_why(port) or error.strerror}",
                hint="choose another --port; 0 finds a free one",
            ) from None


def _why(port: int) -> str | None:
    """Who listens there, as far as the system tells; None where it tells nothing."""
    import psutil

    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for one in found:
        if one.status == psutil.CONN_LISTEN and tuple(one.laddr)[1:2] == (port,):
            return f"{_name(one.pid)} listens there already"
    return None


def _name(pid: int | None) -> str:
    import psutil

    if pid is None:
        return "somebody"
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
