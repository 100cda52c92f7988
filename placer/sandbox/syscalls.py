"""What a program may not ask of the kernel: a filter as ``seccomp`` takes it.

Namespaces and other processes are not its business; memory that no limit of a process
counts (System V's, and files that have no name) it cannot have, nor a socket that a
network namespace does not hold.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

DENIED = """
    ptrace process_vm_readv process_vm_writev pidfd_getfd
    unshare setns chroot pivot_root mount umount2
    open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
    shmget msgget semget mq_open memfd_create memfd_secret
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    add_key request_key keyctl name_to_handle_at open_by_handle_at
""".split()
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
FAMILIES = (1, 2, 10, 16)
# Those of clone that make a namespace.
NEW_NAMESPACE = 0x7E02_0000
# Numbers that all architectures share.
SHARED = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
X86_64 = {
    "socket": 41,
    "shmget": 29,
    "clone": 56,
    "semget": 64,
    "msgget": 68,
    "ptrace": 101,
    "pivot_root": 155,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "mq_open": 240,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "memfd_create": 319,
    "bpf": 321,
    "userfaultfd": 323,
}
AARCH64 = {
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "chroot": 51,
    "unshare": 97,
    "ptrace": 117,
    "mq_open": 180,
    "msgget": 186,
    "semget": 190,
    "shmget": 194,
    "socket": 198,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "clone": 220,
    "perf_event_open": 241,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "memfd_create": 279,
    "bpf": 280,
    "userfaultfd": 282,
}
# By the name of the machine: what the kernel calls its calls, and their numbers.
MACHINES = {
    "x86_64": (0xC000_003E, X86_64 | SHARED),
    "aarch64": (0xC000_00B7, AARCH64 | SHARED),
}
# Calls of x86-64 beyond it are those of another convention, numbered once more.
FIRST_FOREIGN = 0x4000_0000

LOAD, EQUAL, AT_LEAST, HAS_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENT_AT = 0, 4, 16
ALLOW, ERRNO = 0x7FFF_0000, 0x0005_0000
EPERM, ENOSYS = 1, 38


class Step(NamedTuple):
    """One instruction: its code, how many to skip if it holds and if not, its value."""

    code: int
    then: int
    otherwise: int
    value: int


def syscall_filter(machine: str) -> bytes | None:
    """The filter of a machine as ``uname`` names it; None of one that is not known."""
    if machine not in MACHINES:
        return None
    architecture, numbers = MACHINES[machine]
    steps = [
        Step(LOAD, 0, 0, ARCHITECTURE_AT),
        Step(EQUAL, 1, 0, architecture),
        _refuse(ENOSYS),
        Step(LOAD, 0, 0, NUMBER_AT),
        *_if(AT_LEAST, FIRST_FOREIGN, _refuse(ENOSYS)),
        # Its flags lie in memory, out of a filter's sight; libc then takes clone.
        *_if(EQUAL, numbers["clone3"], _refuse(ENOSYS)),
        *(s for name in DENIED for s in _if(EQUAL, numbers[name], _refuse(EPERM))),
        *_if(
            EQUAL,
            numbers["clone"],
            Step(LOAD, 0, 0, ARGUMENT_AT),
            *_if(HAS_BIT, NEW_NAMESPACE, _refuse(EPERM)),
            Step(RETURN, 0, 0, ALLOW),
        ),
        *_if(
            EQUAL,
            numbers["socket"],
            Step(LOAD, 0, 0, ARGUMENT_AT),
            *(s for f in FAMILIES for s in _if(EQUAL, f, Step(RETURN, 0, 0, ALLOW))),
            _refuse(EPERM),
        ),
        Step(RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _if(test: int, value: int, *then: Step) -> list[Step]:
    """Steps that are taken only if a test holds."""
    return [Step(test, 0, len(then), value), *then]


def _refuse(errno: int) -> Step:
    return Step(RETURN, 0, 0, ERRNO | errno)
