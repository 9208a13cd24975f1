"""Seeded trials against what a stranger may send: seconds of them in every test run, minutes by `make hostile`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.served import serving

SECONDS = float(os.environ.get("KDLIGHT_HOSTILE_SECONDS", "4"))
"""That each part may take; `make hostile` gives each minutes."""
LEAST = 20
"""Trials of a part, however slow the machine."""

Trials = Callable[[], Iterator[np.random.Generator]]


@pytest.fixture
def trials(record_property: Callable[[str, object], None]) -> Trials:
    """Generators of random numbers, seeded with 0, 1, 2 and so on, until the part's time is over."""

    def run() -> Iterator[np.random.Generator]:
        end, seed = time.monotonic() + SECONDS, 0
        while seed < LEAST or time.monotonic() < end:
            yield np.random.default_rng(seed)
            seed += 1
        record_property("trials", seed)

    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    with serving(home, "--server.disconnectedSessionTTL", "24") as address:
        yield address


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "hostile" in item.path.parts:
            item.add_marker(pytest.mark.hostile)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many trials each part made, for docs/security.md."""
    for report in terminalreporter.stats.get("passed", []):
        counted = dict(report.user_properties).get("trials")
        if counted is not None:
            terminalreporter.write_line(f"{counted:>7} trials  {report.nodeid}")
