"""The README keeps its word: the commands it shows exist, and its numbers are the cards'."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def test_a_newcomer_sees_the_app_and_the_two_commands_first() -> None:
    top = "\n".join(README.splitlines()[:25])
    assert "make app" in top
    assert "make test" in top
    assert re.search(r"!\[.+\]\((.+\.png)\)", top)


def test_the_table_is_what_the_cards_say() -> None:
    script = runpy.run_path(str(ROOT / ".ci" / "card_table.py"))
    written = README.partition(script["BEGIN"])[2].partition(script["END"])[0].strip()
    assert written == script["table"](), "run make card-table"


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("kdlight ")])
def test_every_command_shown_is_understood(line: str) -> None:
    """The words are parsed by the command line itself; nothing is run."""
    from typer.main import get_command

    from kdlight.cli import app

    words = shlex.split(line, comments=True)[1:]
    command = get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("kdlight", words) as context:
        assert context.params


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_every_name_in_the_python_shown_is_there(block: str) -> None:
    import kdlight
    from kdlight import runs

    for name in re.findall(r"\bkdlight\.(\w+)", block):
        assert hasattr(kdlight, name)
    for name in re.findall(r"\bruns\.(\w+)", block):
        assert hasattr(runs, name)
    compile(block, "README.md", "exec")


def test_every_file_named_is_there() -> None:
    for path in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / path).is_file(), path
