"""The work pool's template, as a real server takes it."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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
