"""The filter of system calls, run here instruction by instruction, for the machine of this test and for the other."""

from __future__ import annotations

import struct

import pytest

from kdlight.processes.confine import _CALLS, program

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MMAP, MPROTECT, PRLIMIT = (9, 222), (10, 226), (302, 261)
ANONYMOUS = (0, 4096, 3, 0x22, 2**64 - 1, 0)


def verdict(machine: str, number: int, arguments: tuple[int, ...] = (), architecture: int | None = None) -> int:
    """What the kernel would do with a call: the instructions of classic BPF that the filter is made of."""
    padded = (*arguments, *[0] * (6 - len(arguments)))
    call = struct.pack("<IIQ6Q", number, ARCHITECTURES[machine] if architecture is None else architecture, 0, *padded)
    steps, at, word = program(machine), 0, 0
    while True:
        code, true, false, constant = struct.unpack("=HBBI", steps[at])
        at += 1
        if code == 0x20:
            (word,) = struct.unpack_from("<I", call, constant)
        elif code in (0x15, 0x45):
            at += true if (word == constant if code == 0x15 else word & constant) else false
        else:
            assert code == 0x06
            return int(constant)


@pytest.mark.parametrize(("column", "machine"), [(0, "x86_64"), (1, "aarch64")])
def test_what_is_listed_is_allowed_and_nothing_else(column: int, machine: str) -> None:
    listed = {numbers[column] for numbers in _CALLS.values()}
    allowed = {number for number in range(1024) if verdict(machine, number) == ALLOW}
    assert allowed == listed | {MPROTECT[column], PRLIMIT[column]}  # with no arguments they ask for nothing
    assert verdict(machine, 0x40000000 | min(listed)) == REFUSE  # x32
    assert verdict(machine, 2**32 - 1) == REFUSE


@pytest.mark.parametrize(("column", "machine"), [(0, "x86_64"), (1, "aarch64")])
def test_arguments_decide_where_they_matter(column: int, machine: str) -> None:
    assert verdict(machine, MMAP[column], ANONYMOUS) == ALLOW
    assert verdict(machine, MMAP[column], (0, 4096, 1, 2, 3, 0)) == REFUSE  # a file
    assert verdict(machine, MMAP[column], (0, 4096, 7, *ANONYMOUS[3:])) == REFUSE  # code
    assert verdict(machine, MPROTECT[column], (0, 4096, 1)) == ALLOW
    assert verdict(machine, MPROTECT[column], (0, 4096, 5)) == REFUSE
    assert verdict(machine, PRLIMIT[column], (0, 0)) == ALLOW
    assert verdict(machine, PRLIMIT[column], (0, 9)) == REFUSE  # memory
    assert verdict(machine, PRLIMIT[column], (77, 0)) == REFUSE  # another process


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_call_of_another_architecture_ends_the_process(machine: str) -> None:
    for architecture in (0x40000003, 0x40000028, 0):
        assert verdict(machine, 0, architecture=architecture) == KILL


def test_both_machines_have_the_same_calls() -> None:
    for column in (0, 1):
        numbers = [numbers[column] for numbers in _CALLS.values()]
        assert len(set(numbers)) == len(_CALLS)
