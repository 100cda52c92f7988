"""How fast the memory of this machine is read: measured once a boot, then remembered.

Weights that stay on the CPU are read from end to end for every token. So a large
buffer is read from end to end, by as many threads as there are cores, and what counts
is the bytes that were read.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# More than any cache holds, read by few threads and by many.
LEAST_BYTES = 128 * MIB
THREAD_BYTES = 32 * MIB
MOST_THREADS = 32
# The buffer takes no more of what is free.
SHARE_OF_FREE = 0.25
# Of reading the whole buffer in one go, so that it does not matter who begins first.
ROUNDS = 3
BURSTS = 3
GB = 1e9
VARIABLE = "PLACER_CACHE"
# Memory that others are reading is not measured for good, only for an hour: two plans
# in a row are to say the same.
BUSY = 0.5
BUSY_FOR_S = 3600.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Burst(NamedTuple):
    """When a thread began a few rounds of reading, and ended them."""

    began_s: float
    ended_s: float


def host_bandwidth(path: Path | None = None) -> float | None:
    """Bytes a second, in whole GB/s: as remembered, else measured now.

    Args:
        path: the file that remembers, None for the one in the user's cache.

    Returns:
        None where it cannot be measured.
    """
    path = path or default_path()
    threads = _threads()
    key = _key(threads)
    known = _remembered(path, key)
    if known is not None:
        return known
    is_idle = os.getloadavg()[0] <= BUSY * threads
    measured = measure(threads)
    if measured is not None:
        _remember(path, key, measured, until_s=None if is_idle else _soon())
    return measured


def default_path() -> Path:
    """In placer's cache."""
    return cache_folder() / "host-bandwidth.json"


def cache_folder() -> Path:
    """``PLACER_CACHE`` or the user's cache: it may be deleted at any time."""
    from platformdirs import user_cache_path

    named = os.environ.get(VARIABLE)
    return Path(named) if named else user_cache_path("placer", appauthor=False)


def boot_id() -> str:
    """What tells this start of the machine from all others."""
    import psutil

    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def measure(threads: int) -> float | None:
    """Bytes a second that so many threads read together, the best of a few bursts.

    Returns:
        Whole GB/s; None where there is no room for the buffer, or no C library.
    """
    import psutil

    each = max(THREAD_BYTES, LEAST_BYTES // threads)
    if each * threads > psutil.virtual_memory().available * SHARE_OF_FREE:
        return None
    try:
        memchr = ctypes.CDLL(None).memchr
        buffers = [_buffer(each) for _ in range(threads)]
    except (OSError, AttributeError):
        return None
    memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    together = threading.Barrier(threads)

    def read(buffer: mmap.mmap) -> list[Burst]:
        return _bursts(memchr, buffer, together)

    with ThreadPoolExecutor(threads) as pool:
        by_thread = list(pool.map(read, buffers))
    best_s = min(_seconds(bursts) for bursts in zip(*by_thread, strict=True))
    return float(max(round(each * threads * ROUNDS / best_s / GB), 1) * GB)


def _bursts(
    memchr: Callable[[int, int, int], object],
    buffer: mmap.mmap,
    together: threading.Barrier,
) -> list[Burst]:
    """Fill the buffer in the thread that reads it, then read it with the others."""
    address, size = ctypes.addressof(ctypes.c_char.from_buffer(buffer)), len(buffer)
    ctypes.memset(address, 1, size)
    bursts = []
    for _ in range(BURSTS):
        together.wait()
        began_s = time.perf_counter()
        for _ in range(ROUNDS):
            memchr(address, 2, size)
        bursts.append(Burst(began_s, time.perf_counter()))
    return bursts


def _seconds(bursts: Iterable[Burst]) -> float:
    """From the first thread's beginning to the last one's end."""
    began_s, ended_s = zip(*bursts, strict=True)
    return float(max(ended_s) - min(began_s))


def _buffer(n_bytes: int) -> mmap.mmap:
    """Memory of its own pages, none of them touched yet."""
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _threads() -> int:
    """The cores that this process may use, which is what the engine computes with."""
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    with suppress(AttributeError):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return min(cores, MOST_THREADS)


def _key(threads: int) -> dict[str, str | int]:
    """What a measurement holds for: this boot of this machine, and these cores."""
    import psutil

    total_bytes = psutil.virtual_memory().total
    return {"boot": boot_id(), "threads": threads, "memory_bytes": total_bytes}


def _remembered(path: Path, key: dict[str, str | int]) -> float | None:
    """What was measured under the same key; None for any other file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("key") != key:
            return None
        known = float(record["bytes_per_s"])
        until_s = record.get("until_s")
        if until_s is not None and float(until_s) < time.time():
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return known if GB <= known < float("inf") else None


def _soon() -> float:
    """When what was measured while others computed is measured again."""
    return time.time() + BUSY_FOR_S


def _remember(
    path: Path,
    key: dict[str, str | int],
    bytes_per_s: float,
    *,
    until_s: float | None,
) -> None:
    """Write it whole or not at all; a cache that cannot be written is no fault."""
    record = json.dumps({"key": key, "bytes_per_s": bytes_per_s, "until_s": until_s})
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            file = Path(folder) / path.name
            file.write_text(record, encoding="utf-8")
            file.replace(path)
