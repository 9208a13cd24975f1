"""Nothing that kdlight needs to run may be under the GPL or AGPL."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
GPL = re.compile(r"(?<![A-Z])A?GPL|(?<!Lesser )(?<!Library or Lesser )\bGeneral Public License|Affero", re.IGNORECASE)


def is_copyleft(licence: str) -> bool:
    """An expression passes if one of its alternatives does; the runtime-library exception of GCC is no GPL."""
    alternatives = re.split(r"\s+OR\s+", licence.replace("GPL-3.0-with-GCC-exception", ""))
    return all(GPL.search(part) for part in alternatives)


def closure() -> set[str]:
    """Every installed distribution that the runtime requirements bring along."""
    wanted = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        marker = requirement.marker
        if requirement.name.lower() in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        try:
            wanted += requires(requirement.name) or []
        except PackageNotFoundError:
            continue
        found.add(requirement.name.lower())
    return found


def licence(name: str) -> str:
    """The expression, the first line of the license field, and the classifiers, as far as there are any."""
    metadata = distribution(name).metadata
    classifiers = [c.split("::")[-1].strip() for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
    field = (metadata.get("License") or "").strip().partition("\n")[0]
    return metadata.get("License-Expression") or "; ".join([field, *classifiers])


def test_the_words_are_told_apart() -> None:
    for free in (
        "MIT",
        "LGPL-2.1",
        "BSD-3-Clause AND GPL-3.0-with-GCC-exception",
        "GPL-2.0 OR MIT",
        "GNU Lesser General Public License v3 (LGPLv3)",
    ):
        assert not is_copyleft(free), free
    for bound in ("GPL-3.0-only", "AGPL-3.0", "GNU General Public License v3 (GPLv3)", "GNU Affero GPL"):
        assert is_copyleft(bound), bound


def test_no_runtime_requirement_is_under_the_gpl() -> None:
    names = closure()
    assert {"torch", "streamlit", "numpy"} <= names
    assert [f"{name}: {licence(name)}" for name in sorted(names) if is_copyleft(licence(name))] == []
