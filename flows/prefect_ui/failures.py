"""Shows a user's error in Prefect as a failed state with one sentence, without a traceback in the log."""

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
    """Removes the traceback of a user's error, and the repeated sentence, from Prefect's log."""

    told: BaseException | None = None
    """The error in the state of the run; the log needs no second message on it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether to log a record; shortens the line of a failed state by the state's message."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        message = str(record.msg)
        if error is not None and (error is self.told or (_is_of_a_task(message) and isinstance(error, USER_ERRORS))):
            return False
        if _FAILED.match(message):
            record.msg = _FAILED.sub(r"\1", message)
        return True


def _is_of_a_task(message: str) -> bool:
    """Returns whether a message is on a task without further retries; its error goes on to the flow."""
    return message.startswith("Task run failed with exception")


_FILTER = _SentenceOnce()


def fail_in_one_sentence(flow: Callable[P, R]) -> Callable[P, R]:
    """Returns a flow's function that turns a user's error into the state Failed with one sentence.

    Prefect raises the error itself in the code that called the flow. A run of a deployment has no such caller, so the
    error goes to the log of the run.
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
            return cast("R", state)  # Prefect raises the state's error in the caller

    return run
