"""The confinement of a process that decodes hostile bytes, by the Linux kernel.

Hides prctl, Landlock and seccomp, which Python does not wrap. After `confine` a process can
compute, start threads, and read and write the descriptors that it has: it can open, connect, start
and signal nothing. Whatever it needs is imported before.

Sources: prctl(2), landlock(7), seccomp(2), and the tables of system calls in
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from enum import StrEnum


class Part(StrEnum):
    """A part of the confinement."""

    NO_NEW_PRIVILEGES = "no-new-privileges"
    NOT_DUMPABLE = "not-dumpable"  # closed to other processes of its user: memory, environment
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


# include/uapi/linux/prctl.h, landlock.h, seccomp.h.
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same on every architecture
_CREATE_RULESET_VERSION = 1
_SET_MODE_FILTER, _FILTER_FLAG_TSYNC = 1, 1

# What each version of Landlock can restrict: files, network, and signals and abstract sockets.
_FILES = {1: 13, 2: 14, 3: 15, 5: 16}  # how many bits
_NETWORK_SINCE, _NETWORK = 4, 0b11
_SCOPES_SINCE, _SCOPES = 6, 0b11

# A worker has its socket, /dev/null twice and a pipe.
_MAX_DESCRIPTORS = 16

# Of each machine: its number in `seccomp_data.arch` (linux/audit.h), and its column below.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

# What decoding needs, the most frequent first: on x86-64, on arm64. Not among them, on purpose:
# prctl, which would make it dumpable again; fcntl, which sends signals (F_SETOWN); sendmsg, which
# passes descriptors.
_ALLOWED = {
    "futex": (202, 98),
    "read": (0, 63),
    "write": (1, 64),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "getrandom": (318, 278),
    "getcwd": (79, 17),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "sigaltstack": (131, 132),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_CLONE, _CLONE3, _SECCOMP = (56, 220), (435, 435), (317, 277)
# The flags of a new thread in glibc; musl adds CLONE_DETACHED, which Linux ignores.
_THREAD, _CLONE_DETACHED = 0x3D0F00, 0x400000

# Instructions (linux/bpf_common.h), and where they find things in `seccomp_data`.
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38


def confine() -> tuple[Part, ...]:
    """Confine this process for good, and return the parts that are in force.

    On another kernel than Linux, or an old one, fewer are.
    """
    os.chdir("/")  # Pillow asks for it, and need not see the name of the gateway's folder
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_DESCRIPTORS, _MAX_DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform != "linux":
        return ()
    steps = {
        Part.NO_NEW_PRIVILEGES: _forbid_new_privileges,
        Part.NOT_DUMPABLE: hide,
        Part.LANDLOCK: _close_files_and_network,
        Part.SECCOMP: _filter_system_calls,
    }
    return tuple(part for part, step in steps.items() if step())


def hide() -> bool:
    """Close memory, environment and descriptors of this process to others of its user.

    Only root can still look into /proc for them. Returns whether the kernel can do that.
    """
    return sys.platform == "linux" and _prctl(_PR_SET_DUMPABLE, 0)


def _forbid_new_privileges() -> bool:
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> bool:
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def _close_files_and_network() -> bool:
    """Restrict all that this kernel's Landlock can restrict, and allow none of it."""
    call = ctypes.CDLL(None).syscall
    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    if version < 1:
        return False
    files = (1 << max(bits for since, bits in _FILES.items() if since <= version)) - 1
    handled = [files]
    if version >= _NETWORK_SINCE:
        handled.append(_NETWORK)
    if version >= _SCOPES_SINCE:
        handled.append(_SCOPES)
    attributes = struct.pack(f"={len(handled)}Q", *handled)
    ruleset = call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        return bool(call(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _filter_system_calls() -> bool:
    """Refuse every system call but those that decoding needs, in every thread."""
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize < 2**32:  # a Python of 32 bits has other numbers
        return False
    architecture, column = _MACHINES[machine]
    program = ctypes.create_string_buffer(_program(architecture, column))
    # struct sock_fprog: the number of instructions, then where they are.
    filters = struct.pack("@HP", len(program.raw) // 8, ctypes.addressof(program))
    arguments = (_SECCOMP[column], _SET_MODE_FILTER, _FILTER_FLAG_TSYNC, filters)
    return bool(ctypes.CDLL(None).syscall(*arguments) == 0)


def _program(architecture: int, column: int) -> bytes:
    """Return the filter, as `struct sock_filter` (code, two jumps, value)."""
    refuse = _ERRNO | _EPERM
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),  # those of x32 are 2^30 and more: they equal none of these
    ]
    for numbers in _ALLOWED.values():
        program += [(_JUMP_IF_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    program += [
        # Its flags are in memory, out of reach of a filter; without it, glibc uses clone.
        (_JUMP_IF_EQUAL, 0, 1, _CLONE3[column]),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_JUMP_IF_EQUAL, 1, 0, _CLONE[column]),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_AND, 0, 0, ~_CLONE_DETACHED & 0xFFFFFFFF),
        (_JUMP_IF_EQUAL, 0, 1, _THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
