"""How a run that fails by a user's error looks in Prefect: a state with one sentence, and no traceback in the log."""

import functools
import logging
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.runtime import deployment
from prefect.states import Failed

from flows.user_errors import USER_ERRORS, describe, summarise

P = ParamSpec("P")
R = TypeVar("R")

_RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
_FAILED = re.compile(r"^(Finished in state Failed)\(.*\)$", re.DOTALL)


class _SentenceOnce(logging.Filter):
    """Keeps a user's error out of Prefect's log: its traceback, and the sentence in the line of a state."""

    told: BaseException | None = None
    """The error that the run's state holds."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether a record is logged; the line of a failed state is kept without the state's message."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        message = str(record.msg)
        if error is not None and (error is self.told or (_is_of_a_task(message) and isinstance(error, USER_ERRORS))):
            return False
        if _FAILED.match(message):
            record.msg = _FAILED.sub(r"\1", message)
        return True


def _is_of_a_task(message: str) -> bool:
    """Returns whether a message is of a task that is not tried again; what it raised reaches the flow."""
    return message.startswith("Task run failed with exception")


_FILTER = _SentenceOnce()


def fail_in_one_sentence(flow: Callable[P, R]) -> Callable[P, R]:
    """Returns the function of a flow that ends a run in the state Failed, with the sentence of a user's error.

    Whoever called the flow gets the error itself. The run of a deployment has nobody who called it, so its log is told.
    """

    @functools.wraps(flow)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in _RUN_LOGGERS:
            logging.getLogger(name).addFilter(_FILTER)
        try:
            return flow(*args, **kwargs)
        except USER_ERRORS as error:
            _FILTER.told = error
            if deployment.id:
                get_run_logger().error(describe(error))
            state: Any = Failed(message=summarise(error), data=error)
            return cast("R", state)  # Prefect raises the state's error where the flow was called

    return run
