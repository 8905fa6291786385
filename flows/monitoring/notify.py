"""Sends notifications of failed runs and of decisions on models to a webhook, by POST.

The webhook's address may contain a token. So it comes only from the environment, and nothing writes it down.
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

from flows.settings import WEBHOOK

logger = logging.getLogger(__name__)

DELAYS_SECONDS = (1.0, 4.0, 0.0)
"""Pauses after each failed attempt."""
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Notification:
    """One message to the webhook; it is sent as JSON.

    Attributes:
        event: `run` or `model`.
        flow: Name of the flow.
        run: Name of the flow run.
        state: State in which the run ended, or the decision on the model: promoted or refused.
        message: Explanation in words.
        link: URL of the run in Prefect's UI.
    """

    event: str
    flow: str
    run: str
    state: str
    message: str
    link: str


def notify(notification: Notification) -> None:
    """Send a notification to $BIRDCLEF_WEBHOOK, if it is set; logs a warning if that fails."""
    webhook = os.environ.get(WEBHOOK)
    if not webhook:
        return
    if not webhook.startswith(("http://", "https://")):
        logger.warning("notify: nothing is sent, because $%s does not start with http:// or https://", WEBHOOK)
        return
    body = json.dumps(asdict(notification)).encode()
    for delay in DELAYS_SECONDS:
        try:
            request = Request(webhook, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
            with urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
                return
        except (OSError, HTTPException, ValueError) as error:  # ValueError quotes a wrong address
            problem = f"status {error.code}" if isinstance(error, HTTPError) else type(error).__name__
        time.sleep(delay)
    logger.warning("notify: could not send to the webhook of $%s (%s)", WEBHOOK, problem)


def notify_of_run(flow: Flow[..., Any] | FlowRecord, flow_run: FlowRun, state: State[Any]) -> None:
    """Send a notification that a run failed or crashed. A hook of flows; Prefect calls it with these names."""
    link = url_for(flow_run) or ""
    notify(Notification("run", flow.name, flow_run.name, state.name or state.type.value, state.message or "", link))
