"""Notifications, received by a real HTTP server."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from flows.monitoring import notify as module
from flows.monitoring.notify import Notification, notify, notify_of_run
from flows.pipeline import features_flow
from flows.settings import WEBHOOK

NOTIFICATION = Notification("run", "birdclef", "gentle-owl", "Failed", "disk full", "http://ui/runs/1")


@dataclass
class Receiver:
    """A webhook that answers with the given statuses, then with 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            found.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = Receiver(f"http://127.0.0.1:{server.server_port}/hook/s3cr3t")
    monkeypatch.setenv(WEBHOOK, found.url)
    monkeypatch.setattr(module, "DELAYS_SECONDS", (0.01, 0.02, 0.0))
    yield found
    server.shutdown()
    server.server_close()


def test_webhook_receives_all_fields(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    notify(NOTIFICATION)
    assert receiver.received == [
        {
            "event": "run",
            "flow": "birdclef",
            "run": "gentle-owl",
            "state": "Failed",
            "message": "disk full",
            "link": "http://ui/runs/1",
        }
    ]
    assert not caplog.text


def test_hook_is_called_as_a_worker_does_for_a_killed_run(receiver: Receiver) -> None:
    run = FlowRun(flow_id=uuid4(), name="gentle-owl")
    notify_of_run(flow=features_flow, flow_run=run, state=Crashed(message="killed"))
    (told,) = receiver.received
    assert (told["flow"], told["run"], told["state"], told["message"]) == (
        "birdclef-features",
        "gentle-owl",
        "Crashed",
        "killed",
    )


def test_webhook_that_fails_is_tried_again(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.statuses = [503, 503]
    notify(NOTIFICATION)
    assert len(receiver.received) == 3
    assert not caplog.text


def test_webhook_that_keeps_failing_is_a_warning_without_its_address(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500] * 3
    notify(NOTIFICATION)
    assert "could not send to the webhook of $BIRDCLEF_WEBHOOK (status 500)" in caplog.text
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:9/s3cr3t", "could not send to the webhook of $BIRDCLEF_WEBHOOK (URLError)"),
        ("http://127.0.0.1:s3cr3t/x", "could not send to the webhook of $BIRDCLEF_WEBHOOK (InvalidURL)"),
        ("http://127.0.0.1/s3cr3t path", "could not send to the webhook of $BIRDCLEF_WEBHOOK (InvalidURL)"),
        ("http://[s3cr3t", "could not send to the webhook of $BIRDCLEF_WEBHOOK (ValueError)"),
        ("file:///etc/s3cr3t", "does not start with http:// or https://"),
    ],
)
def test_address_that_leads_nowhere_is_a_warning_that_does_not_quote_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str, told: str
) -> None:
    monkeypatch.setenv(WEBHOOK, address)
    notify(NOTIFICATION)
    assert told in caplog.text
    assert "s3cr3t" not in caplog.text


def test_nothing_is_sent_without_a_webhook(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(WEBHOOK)
    with caplog.at_level(logging.DEBUG):
        notify(NOTIFICATION)
    assert receiver.received == []
    assert not caplog.text
