"""What an exit code tells of the signal that ended a process."""

from __future__ import annotations

import signal

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
TIMED_OUT = 124  # what timeout(1) ends with
# NTSTATUS codes, as Windows tells what signals are elsewhere
WINDOWS_SIGNALS = {
    0xC0000005: signal.SIGSEGV,
    0xC000001D: signal.SIGILL,
    0xC0000006: signal.SIGBUS,
    0xC0000409: signal.SIGABRT,
    0xC000013A: signal.SIGINT,
}


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a process, as Popen (-9), a shell (137) or Windows says."""
    if exit_code is None:
        return None
    windows = WINDOWS_SIGNALS.get(exit_code & 0xFFFFFFFF)
    if windows is not None:
        return windows
    if exit_code < 0:
        return -exit_code
    return exit_code - 128 if 128 < exit_code < 160 else None
