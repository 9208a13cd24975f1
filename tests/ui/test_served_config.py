"""What the app's configuration keeps off, and the names that it answers to."""

from __future__ import annotations

import tomllib
from pathlib import Path

CONFIG = tomllib.loads((Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml").read_text("utf-8"))


def test_no_menu_no_details_no_statistics() -> None:
    assert CONFIG["client"] == {"showErrorDetails": "none", "showErrorLinks": False, "toolbarMode": "minimal"}
    assert CONFIG["browser"] == {"gatherUsageStats": False}


def test_the_server_is_closed_to_other_names_and_origins() -> None:
    server = CONFIG["server"]
    assert server["allowedHosts"] == ["localhost", "127.0.0.1", "::1"]
    assert server["enableXsrfProtection"] is server["enableCORS"] is True
    assert server["maxUploadSize"] == 64
    assert server["fileWatcherType"] == "none"
    assert not {"enableStaticServing", "enableAgentApi", "scriptHealthCheckEnabled", "corsAllowedOrigins"} & set(server)
