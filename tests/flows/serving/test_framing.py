"""What browsers read to show an answer in no frame: CSP Level 3, section 6.4.2, and RFC 7034."""

import pytest
from starlette.responses import HTMLResponse
from starlette.testclient import TestClient

from flows.serving.framing import NeverFramed
from flows.serving.own_pages import OwnPagesOnly

FRAMED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:4200", 200), ("evil.example", 403)])
def test_no_answer_is_shown_in_a_frame(host: str, status: int) -> None:
    page = HTMLResponse("<h1>Runs</h1>", headers={"Content-Security-Policy": "object-src 'none'"})
    client = TestClient(NeverFramed(OwnPagesOnly(page, ["same-origin"])))
    answer = client.get("/", headers={**FRAMED, "Host": host})
    assert answer.status_code == status
    assert answer.headers["X-Frame-Options"] == "DENY"
    policies = answer.headers.get_list("Content-Security-Policy")
    assert policies[-1] == "frame-ancestors 'none'"
    assert policies[:-1] == (["object-src 'none'"] if status == 200 else [])  # the page's own policy still holds
