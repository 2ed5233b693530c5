"""Asynchronous invocations: events on their way to functions, tried again as Lambda tries them.

A function that fails is tried twice more, after one minute and after two
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html); then the event goes to
the function's dead-letter queue, if it has one and its role may send to it, with the attributes Lambda adds
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).

moto: its Lambda, which needs Docker, is not used.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta

from local_cloud.control.strands import run_apart
from local_cloud.control.timeline import Timeline
from local_cloud.lambda_.functions import Function, FunctionError, Functions
from local_cloud.services.iam.authority import Authority
from local_cloud.services.iam.policies import Need

LOG = logging.getLogger(__name__)
RETRY_AFTER = (timedelta(minutes=1), timedelta(minutes=2))
Deliver = Callable[[str, str, Mapping[str, str]], None]
"""Puts a message on a queue: (queue ARN, body, attributes)."""


class Invocations:
    """Events that wait for a function to run."""

    def __init__(
        self, timeline: Timeline, functions: Functions, authority: Authority, deliver: Deliver
    ) -> None:
        self._timeline = timeline
        self._functions = functions
        self._authority = authority
        self._deliver = deliver

    def send(self, function: str, event: object) -> None:
        """Queue an invocation of a function with an event."""
        try:
            found = self._functions.get(function)
        except FunctionError as error:
            LOG.warning("an event is lost: %s", error)
            return
        self._plan(timedelta(0), found, event, 0)

    def _plan(self, delay: timedelta, function: Function, event: object, retries: int) -> None:
        label = f"retry {function.name}" if retries else f"invoke {function.name}"
        self._timeline.after(delay, lambda: run_apart(lambda: self._try(function, event, retries)), label)

    def _try(self, function: Function, event: object, retries: int) -> None:
        try:
            self._functions.invoke(function.name, event)
        except FunctionError as error:
            if retries < function.retries:
                self._plan(RETRY_AFTER[retries], function, event, retries + 1)
            else:
                self._give_up(function, event, error)

    def _give_up(self, function: Function, event: object, error: FunctionError) -> None:
        arn = function.dead_letter_arn
        if arn is None:
            LOG.error("an event for %s is lost: %s", function.name, error)
            return
        session = self._functions.session_of(function)
        if why := self._authority.may(session, Need("sqs:SendMessage", arn), function.region):
            LOG.error("an event for %s is lost: %s", function.name, why)
            return
        attributes = {"RequestID": str(uuid.uuid4()), "ErrorCode": "200", "ErrorMessage": str(error)[:1024]}
        self._deliver(arn, json.dumps(event), attributes)
