"""What `compose.yaml` sets for a server that other containers reach."""

from pathlib import Path

import yaml

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"


def test_server_asks_for_a_password_that_the_worker_has_and_takes_no_calls_of_other_pages() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    server, worker = (services[name]["environment"] for name in ("server", "worker"))
    password = server["PREFECT_SERVER_API_AUTH_STRING"]
    assert password.startswith("${PREFECT_AUTH_STRING:?"), "without it compose does not start"
    assert worker["PREFECT_API_AUTH_STRING"] == password
    assert server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "same-origin"
