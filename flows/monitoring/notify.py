"""What an operator is told without asking: runs that ended badly and decisions on models, POSTed to a webhook.

The webhook's address may hold a token, so it comes from the environment alone and is never written anywhere.
"""

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prefect import Flow, State
from prefect.client.schemas.objects import Flow as FlowRecord
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.urls import url_for

logger = logging.getLogger(__name__)

WEBHOOK = "BIRDCLEF_WEBHOOK"
DELAYS_SECONDS = (1.0, 4.0, 0.0)
"""Waits after each failed attempt."""
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Notification:
    """What the webhook is sent, as JSON.

    Attributes:
        event: `run` or `model`.
        flow: Name of the flow.
        run: Name of its run.
        state: In which the run ended, or what became of the model: promoted or refused.
        message: In words.
        link: To the run in Prefect's UI.
    """

    event: str
    flow: str
    run: str
    state: str
    message: str
    link: str


def notify(notification: Notification) -> None:
    """Send a notification to $BIRDCLEF_WEBHOOK, if it is set; one that cannot be sent is a warning."""
    webhook = os.environ.get(WEBHOOK)
    if not webhook:
        return
    if not webhook.startswith(("http://", "https://")):
        logger.warning("notify: $%s is no http:// or https:// address, so nothing is sent", WEBHOOK)
        return
    body = json.dumps(asdict(notification)).encode()
    for delay in DELAYS_SECONDS:
        try:
            request = Request(webhook, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
            with urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
                return
        except (OSError, HTTPException, ValueError) as error:  # a wrong address is a ValueError that quotes it
            problem = f"status {error.code}" if isinstance(error, HTTPError) else type(error).__name__
        time.sleep(delay)
    logger.warning("notify: the webhook of $%s could not be reached (%s)", WEBHOOK, problem)


def notify_of_run(flow: Flow[..., Any] | FlowRecord, flow_run: FlowRun, state: State[Any]) -> None:
    """Tell that a run failed or crashed; a hook of flows, which Prefect calls with these names."""
    link = url_for(flow_run) or ""
    notify(Notification("run", flow.name, flow_run.name, state.name or state.type.value, state.message or "", link))
