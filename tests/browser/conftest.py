"""A real server and a real browser. Whatever test runs here also fails on a console error or a call to the outside."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from kdlight.bundle import Bundle
from tests.served import serving

__all__ = ["browsing", "serving"]
PATIENCE = 120_000
"""Milliseconds for what a busy machine may take long for: the first start of everything."""
expect.set_options(timeout=PATIENCE)
PATHS = ("/", "/compare", "/train", "/library")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Path:
    """Where the server under test keeps its library and its runs."""
    root = tmp_path_factory.mktemp("home")
    shutil.copytree(tiny_bundle.path, root / "library" / "tiny_mri")
    return root


@contextmanager
def browsing() -> Iterator[Browser]:
    """Chromium of the system, else playwright's own. Raises FileNotFoundError that says how to install it."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if path is None and not Path(playwright.chromium.executable_path).exists():
            raise FileNotFoundError(
                "No chromium here. Install it: apt-get install chromium, or: playwright install chromium"
            )
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    with serving(home, KDLIGHT_DATA=str(home.parent)) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@dataclass
class Visit:
    """One person's window on the app, and what went wrong in it."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def go(self, name: str) -> None:
        """Follow a link of the navigation."""
        self.page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{name}$")).click()


@pytest.fixture
def visit(chromium: Browser, server: str) -> Iterator[Callable[..., Visit]]:
    """Opens the app: `visit(theme="Light", width=1920)`. At the end nothing may have gone wrong in any window."""
    opened: list[Visit] = []

    def open_app(
        theme: str | None = None, width: int = 1280, height: int = 1400, system: str = "dark", path: str = ""
    ) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=system)
        if theme is not None:
            stored = "; ".join(f"localStorage.setItem('stActiveTheme-{p}-v2', '\"{theme}\"')" for p in PATHS)
            context.add_init_script(stored)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        seen = Visit(page, server)
        page.on("console", lambda m: seen.faults.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: seen.faults.append(f"script: {e}"))
        page.on("request", lambda r: None if _inside(r.url, server) else seen.faults.append(f"outside: {r.url}"))
        page.goto(f"{server}/{path}")
        page.get_by_text("Research and teaching use only").wait_for()
        opened.append(seen)
        return seen

    yield open_app
    faults = [fault for seen in opened for fault in seen.faults]
    for seen in opened:
        seen.page.context.close()
    assert faults == []


def _inside(url: str, server: str) -> bool:
    return url.startswith((server, server.replace("http", "ws"), "data:", "blob:"))
