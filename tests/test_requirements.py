"""requirements.txt is the one list: all that is imported stands there, pinned, and nothing of it is under the GPL."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.audit import UNASKED, VULNERABLE, Audit

ROOT = Path(__file__).resolve().parents[1]
GPL = re.compile(r"(?<![A-Z])A?GPL|(?<!Lesser )(?<!Library or Lesser )\bGeneral Public License|Affero", re.IGNORECASE)


def is_copyleft(licence: str) -> bool:
    """An expression passes if one of its alternatives does; the runtime-library exception of GCC is no GPL."""
    alternatives = re.split(r"\s+OR\s+", licence.replace("GPL-3.0-with-GCC-exception", ""))
    return all(GPL.search(part) for part in alternatives)


def listed() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def imported(folder: str) -> set[str]:
    """Top-level names of what the modules under a folder import, the standard library and our own left out."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"kdlight", "tests", "tools", "app"}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def closure() -> set[str]:
    """Every installed distribution that the runtime requirements bring along."""
    wanted = listed()
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


def test_every_requirement_is_pinned() -> None:
    assert [line for line in listed() if "==" not in line] == []


@pytest.mark.parametrize("folder", ["kdlight", "pages"])
def test_what_the_package_imports_is_required(folder: str) -> None:
    homes = packages_distributions()
    required = {normal(Requirement(line).name) for line in listed()}
    missing = [name for name in imported(folder) if not required & {normal(home) for home in homes.get(name, [])}]
    assert missing == []


def test_what_the_tests_import_is_required_or_in_the_dev_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dev = {normal(Requirement(line).name) for line in project["optional-dependencies"]["dev"]}
    provided = dev | {normal(name) for name in closure()}
    homes = packages_distributions()
    assert [name for name in imported("tests") if not provided & {normal(home) for home in homes.get(name, [])}] == []


@pytest.mark.parametrize("tool", ["hypothesis", "pytest", "torchmetrics", "playwright", "mypy"])
def test_what_only_the_tests_need_is_no_runtime_requirement(tool: str) -> None:
    assert tool not in closure()


def test_opencv_works_on_pixels_and_opens_nothing() -> None:
    """Its wheel bundles FFmpeg and OpenSSL, which no file or address of a stranger must reach."""
    called = {
        node.attr
        for path in (ROOT / "kdlight").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cv2"
    }
    assert "createCLAHE" in called
    assert not {name for name in called if name.lower().startswith(("im", "video", "filestorage", "dnn", "haveimage"))}


def test_an_audit_that_reached_nobody_is_no_clean_one() -> None:
    asked = {"name": "numpy", "version": "2.4.6", "vulns": []}
    skipped = {"name": "torch", "skip_reason": "could not be audited"}
    vulnerable = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]}
    assert Audit.of([asked, {"name": "kdlight", "skip_reason": "editable"}]).exit_code == 0
    assert Audit.of([skipped]).exit_code == Audit.of([]).exit_code == Audit.of([asked, skipped]).exit_code == UNASKED
    assert Audit.of([asked, skipped, vulnerable]).exit_code == VULNERABLE
    assert Audit.of([vulnerable]).lines()[0] == "pillow 9.0: PYSEC-1, CVE-2"
