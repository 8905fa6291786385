"""The work pool's template, as a real server takes it."""

import json
import time
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def test_the_server_accepts_the_template_and_a_run_gets_a_gpu_and_no_privileges(prefect_server: str) -> None:
    template = json.loads((PROJECT / "kubernetes/base-job-template.json").read_text())
    body = json.dumps({"name": "pods", "type": "kubernetes", "base_job_template": template}).encode()
    request = Request(f"{prefect_server}/work_pools/", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:  # 422 for a placeholder without its variable
        pool: dict[str, Any] = json.load(response)

    pod = pool["base_job_template"]["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"
    assert container["command"] == ["tini", "--"], "else the image's entrypoint takes the worker's command for its own"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert {"args", "image"} & container.keys() == {"image"}, "the worker sets the command, and a run may not"
    assert "{{" not in json.dumps([container["image"], container["env"]])


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"gpus": 0, "cpu": "500m", "memory": "8Gi"}, 201),
        ({"command": "id"}, 422),
        ({"image": "evil.example/image"}, 422),
        ({"env": {"LD_PRELOAD": "x"}}, 422),
        ({"memory": "8Gi\nimage: x"}, 422),
    ],
)
def test_run_chooses_hardware_and_nothing_that_executes(
    prefect_server: str, variables: dict[str, Any], status: int
) -> None:
    def post(path: str, **body: Any) -> Any:
        content = json.dumps(body).encode()
        request = Request(f"{prefect_server}{path}", content, {"Content-Type": "application/json"})
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(request, timeout=30) as response:
                    return {"status": response.status, **json.load(response)}
            except HTTPError as error:
                # The server's word for a locked database, rolled back: Prefect's own client tries again too.
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    name = uuid.uuid4().hex
    template = json.loads((PROJECT / "kubernetes/base-job-template.json").read_text())
    post("/work_pools/", name=name, type="kubernetes", base_job_template=template)
    flow = post("/flows/", name="attacked")["id"]
    deployment = post("/deployments/", name=name, flow_id=flow, work_pool_name=name)["id"]
    try:
        made = post(f"/deployments/{deployment}/create_flow_run", job_variables=variables)["status"]
    except HTTPError as error:
        with error:
            made = error.code
    assert made == status
