"""Ask pip-audit about every installed package: `make audit`. Needs a network; says what it could not ask about.

Exits with 1 where a package has a known vulnerability, and with 3 where packages could not be asked about: pip-audit
itself calls both "No known vulnerabilities found" if it reached nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COMMAND = ("-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off", "--format", "json")
VULNERABLE, UNASKED = 1, 3


@dataclass(frozen=True)
class Audit:
    """Names with versions: of what was asked about, of what could not be, and the ids of what is known."""

    asked: tuple[str, ...]
    unasked: tuple[str, ...]
    known: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, dependencies: Sequence[Mapping[str, Any]], ours: Sequence[str] = ("kdlight",)) -> Audit:
        """From pip-audit's list; `ours` is published nowhere."""
        rest = [one for one in dependencies if one["name"] not in ours]
        found = {f"{one['name']} {one['version']}": one["vulns"] for one in rest if "vulns" in one}
        known = {name: tuple(one["id"] for one in vulnerabilities) for name, vulnerabilities in found.items()}
        unasked = tuple(one["name"] for one in rest if "vulns" not in one)
        return cls(tuple(found), unasked, {name: ids for name, ids in known.items() if ids})

    @property
    def exit_code(self) -> int:
        if self.known:
            return VULNERABLE
        return UNASKED if self.unasked or not self.asked else 0

    def lines(self) -> list[str]:
        lines = [f"{name}: {', '.join(ids)}" for name, ids in self.known.items()]
        lines.append(f"{len(self.known)} of {len(self.asked)} packages have known vulnerabilities.")
        if self.unasked or not self.asked:
            names = ", ".join(self.unasked) or "all"
            lines.append(f"Could not be asked about (no network, or no answer from the service): {names}.")
        return lines


def main() -> int:
    asked = subprocess.run([sys.executable, *COMMAND], capture_output=True, text=True)
    try:
        audit = Audit.of(json.loads(asked.stdout)["dependencies"])
    except json.JSONDecodeError:
        sys.stderr.write(f"{asked.stderr}pip-audit gave no list; is a network there?\n")
        return UNASKED
    sys.stdout.write("\n".join(audit.lines()) + "\n")
    return audit.exit_code


if __name__ == "__main__":
    sys.exit(main())
