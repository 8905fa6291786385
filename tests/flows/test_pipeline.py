"""What the flows add to the stages: whom they tell of their end."""

from flows.pipeline import features_flow, full_pipeline


def test_every_flow_tells_of_its_failure_and_its_crash() -> None:
    for flow in (full_pipeline, features_flow):
        assert [hook.__name__ for hook in flow.on_failure_hooks + flow.on_crashed_hooks] == ["notify_of_run"] * 2
