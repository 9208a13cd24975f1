"""One answer on stdout; a mistake is one line and exit status 2; a fault of the program is not hidden."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdlight.cli import inspect, output
from kdlight.cli.output import Answer, words

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "cats"),
        ("frobnicate",),
        ("inspect",),
        ("inspect", "nowhere.dcm"),
        ("data", "check", "nowhere"),
        ("train", "nowhere.toml"),
        ("train", "kdlight-synthetic", "-o", "train.speed=9"),
        ("train", "kdlight-synthetic", "-o", "train.epochs=-1"),
        ("train", "kdlight-synthetic", "-o", "epochs"),
        ("evaluate", "nowhere", "nowhere"),
        ("predict", "nowhere", "nowhere.dcm"),
        ("explain", "nowhere", "nowhere.dcm", "--out", "x.png"),
        ("explain", "nowhere", "nowhere.dcm", "--out", "x.png", "--model", "uncle"),
        ("verify", "nowhere"),
        ("benchmark", "latency", "nowhere"),
        ("benchmark", "beauty", "nowhere"),
        ("benchmark", "latency", "nowhere", "--runs", "3"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(kdlight: Run, arguments: tuple[str, ...]) -> None:
    said = kdlight(*arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("kdlight: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("data",), ("benchmark",)])
def test_no_command_shows_the_help(kdlight: Run, arguments: tuple[str, ...]) -> None:
    said = kdlight(*arguments)
    assert "Usage" in said.out + said.err


def test_help_comes_quickly() -> None:
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "kdlight", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert "train" in done.stdout
    assert time.monotonic() - began < 5  # on a busy machine; about 0.4 s alone


def test_stdout_is_the_answer_alone(kdlight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatty() -> list[dict[str, Any]]:
        print("a library says hello")  # noqa: T201
        return [{"name": "a", "summary": "b"}]

    monkeypatch.setitem(inspect.LISTS, inspect.Kind.models, chatty)
    said = kdlight("list", "models", "--json")
    assert said.json == [{"name": "a", "summary": "b"}]
    assert "hello" in said.err


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "The disk is full while writing out.png"),
        (errno.EACCES, "may not be read or written"),
        (errno.ENOENT, "does not exist"),
        (errno.EADDRINUSE, "port is in use"),
        (errno.EISDIR, "is a folder"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(code: int, sentence: str) -> None:
    said = output.mistake(OSError(code, "as the system says", "out.png"))
    assert said is not None
    assert sentence in said
    assert "\n" not in said


def test_a_full_disk_ends_a_command_with_status_2(kdlight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> list[dict[str, Any]]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(inspect.LISTS, inspect.Kind.models, full)
    said = kdlight("list", "models")
    assert said.status == 2
    assert "disk is full" in said.err


def test_a_fault_of_the_program_is_not_called_a_mistake(kdlight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[dict[str, Any]]:
        return json.loads("{")  # type: ignore[no-any-return]  # a ValueError that a library raises

    monkeypatch.setitem(inspect.LISTS, inspect.Kind.models, broken)
    with pytest.raises(json.JSONDecodeError):
        kdlight("list", "models")


def test_an_interrupt_is_told(kdlight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    monkeypatch.setitem(inspect.LISTS, inspect.Kind.models, interrupted)
    said = kdlight("list", "models")
    assert (said.status, said.err) == (130, "kdlight: stopped.\n")


def test_a_pipe_that_closes_early_is_no_error() -> None:
    command = f"{sys.executable} -c 'import sys; from kdlight.cli import main; sys.exit(main())' list recipes | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123456, "0.123"),
        (True, "yes"),
        (None, "-"),
        ({"value": 0.9, "low": 0.85, "high": 0.95}, "0.900 [0.850, 0.950]"),
        ({"value": 1.0, "low": None, "high": None}, "1.000"),
        (["a", "b"], "a, b"),
        ({"a": 1}, "a 1"),
    ],
)
def test_values_in_words(value: Any, expected: str) -> None:
    assert words(value) == expected


def test_a_number_that_json_has_no_word_for_is_never_printed() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        Answer({"loss": float("nan")}).print(as_json=True)
