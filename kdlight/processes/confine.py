"""What a process that reads untrusted bytes gives up, for good: files, network, programs, other processes.

Two layers. On every system: no descriptor can be opened any more, hence no file, socket, pipe or io_uring, and but for
root no process started. On Linux a seccomp filter (man 2 seccomp) above that: the system calls that computing needs are
listed, and every other one fails with EPERM. The filter is ours, some sixty instructions of classic BPF, since the
bindings that PyPI has want libseccomp on the machine, which pip cannot bring, or are not kept up.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from typing import Literal

Guard = Literal["seccomp", "limits"]
"""What holds a confined process: seccomp with limits, or limits alone where the kernel has no seccomp filters."""

_DESCRIPTORS = 1 << 16
"""More than the process has; systems without close_range close them one by one."""
_PDEATHSIG, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 22, 38
"""Options of prctl(2)."""
_FILTER_MODE = 2
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
"""BPF: load a word of the call, jump if it equals or shares a bit with a constant, return a verdict."""
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where struct seccomp_data has them; an argument takes 8 bytes, its low word first."""
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_MACHINES: dict[str, tuple[int, int]] = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "arm64": (0xC00000B7, 1),
}
"""AUDIT_ARCH of each machine, and which column of the tables below is its."""
_CALLS = {
    **{"recvfrom": (45, 207), "sendto": (44, 206), "read": (0, 63), "write": (1, 64), "close": (3, 57)},
    **{"munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214), "getrandom": (318, 278)},
    **{"futex": (202, 98), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getrusage": (98, 165)},
    **{"clock_gettime": (228, 113), "gettimeofday": (96, 169), "clock_nanosleep": (230, 115), "nanosleep": (35, 101)},
    **{"setitimer": (38, 103), "restart_syscall": (219, 128), "getpid": (39, 172), "gettid": (186, 178)},
    **{"rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132)},
    **{"exit": (60, 93), "exit_group": (231, 94)},
}
"""System calls that are allowed, by their numbers on x86_64 and aarch64."""
_PROT_EXEC, _NO_FILE = 4, 0xFFFFFFFF
_TESTED = {
    (9, 222): [(4, _EQUAL, _NO_FILE), (2, _ANY_BIT, _PROT_EXEC)],
    (10, 226): [(2, _ANY_BIT, _PROT_EXEC)],
    (302, 261): [(0, _EQUAL, 0), (1, _EQUAL, int(resource.RLIMIT_CPU))],
}
"""mmap of no file and mprotect, both of no code, and prlimit64 of this process's time: the place of an argument, how it
is compared, and with what; a bit that is shared is refused."""


def address_space() -> int:
    """Bytes that this process has; 0 where the system is not Linux."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[0]) * resource.getpagesize()


def confine(memory: int, descriptor: int) -> Guard:
    """Keep one descriptor and `memory` bytes in all (Linux) and give up the rest; for a process of one thread."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, _DESCRIPTORS)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))
    return _filter() if sys.platform == "linux" else "limits"


def _filter() -> Guard:
    """End with the parent, be no one's to look into, gain no rights, and let the kernel check every system call."""
    _prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _prctl(_DUMPABLE, 0, 0, 0, 0)
    if _prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or _prctl(_SECCOMP, _FILTER_MODE, _FILTER, 0, 0):
        return "limits"
    return "seccomp"


def probe() -> None:
    """Do without the filter where a process does not live with it, as where an emulator makes other calls."""
    global _FILTER
    pid = os.fork()
    if pid == 0:
        _filter()
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        _FILTER = None


def program(machine: str) -> list[bytes]:
    """The filter, an instruction each. A call of another architecture ends the process, since its numbers differ."""
    architecture, column = _MACHINES[machine]
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    for numbers in _CALLS.values():
        steps += [_step(_EQUAL, numbers[column], 0, 1), _step(_RETURN, _ALLOW)]
    for numbers, tests in _TESTED.items():
        checks = [step for test in tests for step in _check(*test)]
        steps += [_step(_EQUAL, numbers[column], 0, len(checks) + 1), *checks, _step(_RETURN, _ALLOW)]
    return [*steps, _step(_RETURN, _REFUSE)]


def _check(place: int, how: int, constant: int) -> list[bytes]:
    """Go on where the argument passes, else refuse."""
    passes = (1, 0) if how == _EQUAL else (0, 1)
    return [_step(_LOAD, _ARGUMENTS + 8 * place), _step(how, constant, *passes), _step(_RETURN, _REFUSE)]


def _step(code: int, constant: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    """struct sock_filter; jumps count the instructions that are passed over."""
    return struct.pack("=HBBI", code, jump_true, jump_false, constant)


def _head(steps: ctypes.Array[ctypes.c_char]) -> ctypes.Array[ctypes.c_char]:
    """struct sock_fprog."""
    return ctypes.create_string_buffer(struct.pack("@HP", len(steps) // 8, ctypes.addressof(steps)))


_STEPS = ctypes.create_string_buffer(b"".join(program(platform.machine()) if platform.machine() in _MACHINES else []))
_FILTER: ctypes.Array[ctypes.c_char] | None = _head(_STEPS)
"""Made once: every object that a forked child touches costs it a page."""
if sys.platform == "linux":
    _prctl = ctypes.CDLL(None).prctl
    _prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
