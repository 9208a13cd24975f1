"""What a decoder that was taken over would try. Run only inside the sandbox's children."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
from collections.abc import Callable

import numpy as np

from kdlight.contracts.image import Image
from kdlight.contracts.modality import Window

LIBC = ctypes.CDLL(None, use_errno=True)
PATH, NEW = b"/etc/passwd", b"/tmp/kdlight-escape"
X86 = {
    "openat": (257, -100, PATH, os.O_RDONLY),
    "openat for write": (257, -100, NEW, os.O_RDWR | os.O_CREAT, 0o600),
    "openat2": (437, -100, PATH, ctypes.create_string_buffer(24), 24),
    "name_to_handle_at": (303, -100, PATH, None, None, 0),
    "memfd_create": (319, b"code", 0),
    "stat": (262, -100, PATH, ctypes.create_string_buffer(512), 0),
    "getdents": (217, 0, ctypes.create_string_buffer(512), 512),
    "getcwd": (79, ctypes.create_string_buffer(512), 512),
    "unlink": (263, -100, NEW, 0),
    "mkdir": (258, -100, NEW, 0o700),
    "rename": (264, -100, NEW, -100, NEW),
    "chmod": (268, -100, NEW, 0o777),
    "socket": (41, socket.AF_INET, socket.SOCK_STREAM, 0),
    "datagram socket": (41, socket.AF_INET, socket.SOCK_DGRAM, 0),
    "netlink socket": (41, 16, socket.SOCK_RAW, 0),
    "connect": (42, 0, ctypes.create_string_buffer(16), 16),
    "sendmsg": (46, 0, ctypes.create_string_buffer(64), 0),
    "recvmsg": (47, 0, ctypes.create_string_buffer(64), 0),
    "pipe": (293, ctypes.create_string_buffer(8), 0),
    "dup": (32, 0),
    "fork": (57,),
    "clone": (56, signal.SIGCHLD, 0, 0, 0, 0),
    "clone3": (435, ctypes.create_string_buffer(88), 88),
    "execve": (59, b"/bin/true", None, None),
    "execveat": (322, -100, b"/bin/true", None, None, 0),
    "ptrace the parent": (101, 16, os.getppid, 0, 0),
    "read the parent's memory": (310, os.getppid, None, 0, None, 0, 0),
    "write the parent's memory": (311, os.getppid, None, 0, None, 0, 0),
    "kill the parent": (62, os.getppid, 0),
    "kill itself": (62, os.getpid, 9),
    "kill all": (62, -1, 0),
    "kill the group": (62, 0, 0),
    "kill a thread of the parent": (234, os.getppid, os.getppid, 0),
    "queue a signal": (129, os.getppid, 0, None),
    "pidfd_open": (434, os.getppid, 0),
    "kcmp": (312, os.getppid, os.getpid, 0, 0, 0),
    "io_uring_setup": (425, 4, ctypes.create_string_buffer(120)),
    "shmget": (29, 0, 4096, 0o1600),
    "msgget": (68, 0, 0o1600),
    "mq_open": (240, b"kdlight", os.O_CREAT, 0o600, None),
    "keyctl": (250, 0, -3, 1),
    "bpf": (321, 0, None, 0),
    "perf_event_open": (298, None, 0, -1, -1, 0),
    "userfaultfd": (323, 1),
    "inotify_init": (294, 0),
    "unshare": (272, 0x10000000),
    "chroot": (161, b"/"),
    "mount": (165, b"none", b"/tmp", b"tmpfs", 0, None),
    "setuid": (105, 0),
    "be dumpable": (157, 4, 1, 0, 0, 0),
    "outlive the parent": (157, 1, 0, 0, 0, 0),
    "a second filter": (317, 1, 0, None),
    "another personality": (135, 0x0040000),
    "slow down others": (141, 0, os.getppid, 19),
    "a call by its x32 number": (0x40000000 | 39,),
}
"""System calls by their numbers on x86_64, with arguments; functions are called for theirs."""


def raw_call(name: str) -> None:
    number, *arguments = X86[name]
    LIBC.syscall.restype = ctypes.c_long
    result = LIBC.syscall(number, *[argument() if callable(argument) else argument for argument in arguments])
    if name in ("fork", "clone") and result == 0:
        os._exit(0)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)


def connect_home() -> None:
    with socket.socket() as end:
        end.connect(("127.0.0.1", 9))


def read_memory_file() -> None:
    with open(f"/proc/{os.getppid()}/mem", "rb") as memory:
        memory.read(1)


def map_a_file() -> None:
    with open("/etc/passwd", "rb") as file:
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def make_memory_executable() -> None:
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if LIBC.mprotect(ctypes.c_void_p(address), 4096, 5):
        raise OSError(ctypes.get_errno(), "mprotect")


def more_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def more_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


def limit_the_parent() -> None:
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))


def import_a_module() -> None:
    import this  # noqa: F401


def read_the_environment() -> None:
    LIBC.getenv.restype = ctypes.c_char_p
    if not os.environ and LIBC.getenv(b"KDLIGHT_TEST_SECRET") is None and LIBC.getenv(b"HOME") is None:
        raise PermissionError(errno.EPERM, "the environment is empty")


def use_another_descriptor() -> None:
    """Of the first 64 beside the standard three, all of which are /dev/null, one is the channel."""
    open_ones = [number for number in range(3, 64) if _is_open(number)]
    if len(open_ones) == 1:
        raise PermissionError(errno.EPERM, "nothing to use")


def _is_open(number: int) -> bool:
    try:
        os.write(number, b"")
    except OSError as error:
        return error.errno != errno.EBADF
    return True


PYTHON: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        *(connect_home, read_memory_file, map_a_file, executable_memory, make_memory_executable, more_memory),
        *(more_files, limit_the_parent, import_a_module, read_the_environment, use_another_descriptor),
    )
}


def attempt(data: bytes, frame: int) -> Image:
    """The bytes name the attempt; the one pixel is the errno with which it was refused, 0 where it succeeded."""
    name, code = data.decode(), 0
    try:
        PYTHON[name]() if name in PYTHON else raw_call(name)
    except OSError as error:
        code = error.errno or -1
    except (ImportError, ValueError):  # how an import and `resource` say that they were refused
        code = errno.EPERM
    return Image(pixels=np.full((1, 1), code, np.float32), sha256="", format="test", bits=8, windows=(Window(0, 1),))
