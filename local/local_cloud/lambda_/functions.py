"""Runs the stack's functions as Lambda would: environment, context, payload limits.

A handler string is imported from this process's path (the checkout), not from the packaged zip: the tests
import the same modules, and two copies of them in one process would not recognise each other's classes.
Environment, timeout and memory size come from the template. Limits follow
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.

A function cannot be stopped from outside; one that is killed or runs past its time is cut off instead: all
its further requests are refused, and it counts as crashed, regardless of its result. `executions` says which
function runs when.

moto: its Lambda, which needs Docker, is not used.
"""

import importlib
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TextIO, cast

from local_cloud.call import ACCOUNT
from local_cloud.lambda_.executions import Execution, Executions
from local_cloud.lambda_.traces import Trace, continued

LOG = logging.getLogger(__name__)
FUNCTION_KEY = "ASIALOCALFUNCTION0000"
FUNCTION_SECRET = "secret-of-the-local-functions"
FUNCTION_SESSION = "session-of-the-local-functions"
SYNCHRONOUS_PAYLOAD_BYTES = 6 * 1024 * 1024
ENVIRONMENT_BYTES = 4096
OPERATORS_OWN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
"""Variables of this machine's user that must not reach a function."""


OnError = Callable[[str], None]
"""Is called when an invocation failed, with the function's name."""
OnEnd = Callable[[str, float], None]
"""Is called when an invocation is over, with the function's name and the real seconds it took."""


class FunctionError(Exception):
    """A function failed: it raised, was killed, ran past its time, or broke a limit."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the stack."""

    name: str
    handler: str
    region: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=3)
    memory_mb: int = 128
    retries: int = 2
    dead_letter_arn: str | None = None
    may_loop: bool = False
    """Whether `RecursiveLoop` is `Allow`."""

    @property
    def arn(self) -> str:
        """Return the function's ARN."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"


class Context:
    """The context object (https://docs.aws.amazon.com/lambda/latest/dg/python-context.html).

    The remaining time is counted in real seconds: a jump of the simulated clock takes nothing from an
    invocation, nor does a call that hangs, so that a worker can outlive its lease.
    """

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, function: Function, execution: Execution) -> None:
        self.function_name = function.name
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = str(function.memory_mb)
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = f"local/[$LATEST]{uuid.uuid4().hex}"
        self._execution = execution

    def get_remaining_time_in_millis(self) -> int:
        """Return the real milliseconds left before the timeout."""
        return max(0, int(self._execution.seconds_left * 1000))


class StandardError:
    """Standard error as it is at the time of each write: what functions print goes there."""

    def write(self, text: str) -> int:
        """Write to the present standard error."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the present standard error."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Return that a function's output is no terminal."""
        return False


class Functions:
    """The functions of the stack, by name."""

    def __init__(self, endpoint_url: str, executions: Executions) -> None:
        """Set `endpoint_url` as the AWS endpoint of every function."""
        self._endpoint_url = endpoint_url
        self._executions = executions
        self.on_end: list[OnEnd] = []
        self.on_error: list[OnError] = []
        self._functions: dict[str, Function] = {}
        self._output = cast(TextIO, StandardError())

    def add(self, function: Function) -> None:
        """Deploy a function; its environment must fit Lambda's limit."""
        size = sum(len(name) + len(value) for name, value in function.environment.items())
        if size > ENVIRONMENT_BYTES:
            raise ValueError(f"the environment of {function.name} has {size} bytes; Lambda takes 4096")
        self._functions[function.name] = function

    def clear(self) -> None:
        """Forget every function."""
        self._functions.clear()

    def get(self, name_or_arn: str) -> Function:
        """Return a function by name or ARN.

        Raises:
            FunctionError: it is not deployed.
        """
        name = name_or_arn.rpartition(":")[2]
        if name not in self._functions:
            raise FunctionError(f"there is no function {name}")
        return self._functions[name]

    def invoke(
        self,
        name_or_arn: str,
        event: object,
        *,
        at_most: timedelta | None = None,
        causes: Sequence[Trace] = (),
    ) -> Any:
        """Run a function on an event and return its result, both as JSON.

        Args:
            name_or_arn: the function.
            event: its payload.
            at_most: a limit of the caller's, shorter than the function's own.
            causes: the traces of the messages that it is invoked with.

        Raises:
            FunctionError: the invocation failed.
        """
        function = self.get(name_or_arn)
        payload = json.dumps(event)
        if len(payload) > SYNCHRONOUS_PAYLOAD_BYTES:
            raise FunctionError(f"the event of {len(payload)} bytes for {function.name} is too large")
        allowed = min(function.timeout, at_most or function.timeout).total_seconds()
        trace = continued(causes, function.arn)
        execution = Execution(
            trace.parent, function.name, allowed, lambda: self._surroundings(function, trace)
        )
        try:
            return json.loads(self._answer(function, payload, execution, allowed))
        except FunctionError:
            for tell in self.on_error:
                tell(function.name)
            raise
        finally:
            for look in self.on_end:
                look(function.name, execution.seconds_taken)

    def _answer(self, function: Function, payload: str, execution: Execution, allowed: float) -> str:
        """Return the answer of an invocation that ends in time and fits."""
        returned = self._run(function, payload, execution)
        if not execution.is_alive:
            raise FunctionError(f"{function.name} was killed or ran past its {allowed:g} s")
        if len(returned) > SYNCHRONOUS_PAYLOAD_BYTES:
            raise FunctionError(f"{function.name} answered {len(returned)} bytes, Lambda takes 6 MB")
        return returned

    def _run(self, function: Function, payload: str, execution: Execution) -> str:
        """Run the handler and return its result as JSON."""
        try:
            with self._executions.run(execution):
                answer = resolve(function.handler)(json.loads(payload), Context(function, execution))
                return json.dumps(answer)
        except Exception as error:
            LOG.warning("%s failed", function.name, exc_info=error)
            raise FunctionError(f"{function.name} raised {type(error).__name__}: {error}") from error

    @contextmanager
    def _surroundings(self, function: Function, trace: Trace) -> Iterator[None]:
        with environment(function, trace, self._endpoint_url), redirect_stdout(self._output):
            yield


def resolve(handler: str) -> Callable[[object, Context], object]:
    """Import the object that a handler string names."""
    module, _, name = handler.rpartition(".")
    return cast(Callable[[object, Context], object], getattr(importlib.import_module(module), name))


@contextmanager
def environment(function: Function, trace: Trace, endpoint_url: str) -> Iterator[None]:
    """Set the environment of a function's invocation for as long as the context lasts.

    The names are Lambda's (https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html); the
    endpoint and the operator's own AWS files are pointed at the local cloud and at nothing.
    """
    variables = {
        **function.environment,
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": FUNCTION_KEY,
        "AWS_SECRET_ACCESS_KEY": FUNCTION_SECRET,
        "AWS_SESSION_TOKEN": FUNCTION_SESSION,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "_HANDLER": function.handler,
        "_X_AMZN_TRACE_ID": trace.written(),
        "NO_PROXY": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in (*variables, *OPERATORS_OWN)}
    for name in OPERATORS_OWN:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
