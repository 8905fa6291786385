"""What the tasks add to the stages: what is tried again, and when."""

import pytest
from prefect.states import Failed

from flows.tasks import can_pass, evaluate_task, train_task


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ConnectionError("reset"),
        TimeoutError(),
        RuntimeError("child was killed"),
    ],
)
def test_trouble_of_the_machine_or_the_network_is_tried_again(error: Exception) -> None:
    assert can_pass(train_task, None, Failed(data=error))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad table"),
        FileNotFoundError("no audio"),
        PermissionError("read-only"),
        FloatingPointError("loss is nan"),
        KeyError("column"),
        TypeError("defect"),
        ModuleNotFoundError("onnx"),
    ],
)
def test_wrong_input_and_defects_are_not(error: Exception) -> None:
    assert not can_pass(train_task, None, Failed(data=error))  # type: ignore[arg-type]


def test_every_stage_waits_longer_from_try_to_try() -> None:
    for stage in (train_task, evaluate_task):
        assert stage.retry_delay_seconds == [10, 20, 40]
