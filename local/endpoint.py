"""The AWS endpoint: every call passes here, is counted, meets its faults and limits, and is answered.

A call goes one way: recognised, counted, refused by a fault or a bucket, answered by the service's stand-in
or by moto. Errors of ours are written in the protocol of the service. It knows no service but EC2's buckets.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from wsgiref.types import WSGIEnvironment

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from local.buckets import TokenBuckets
from local.call import ACCOUNT, AwsError, Call, Handler, StandIn
from local.faults import Caller, Effect, Faults
from local.functions import FUNCTION_KEY, Execution
from local.passing import lock_of, pass_on
from local.recognise import Signed, Target, recognise
from local.server import Answer
from local.wire import parse, render_error, render_result

LOG = logging.getLogger(__name__)
OnCall = Callable[[Target, WSGIEnvironment, str | None], None]
"""Look at a call before it is answered; the text names the function that made it."""
KILLED = AwsError("FunctionKilled", "The function that made this call has been killed.")


class CallCount:
    """How many calls were made, by service, operation and caller; `on_call` are shown each of them."""

    def __init__(self) -> None:
        self.on_call: list[OnCall] = []
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, Caller]] = Counter()

    def add(self, target: Target, environ: WSGIEnvironment, function: str | None) -> None:
        """Count one call, made by a function or else by anybody."""
        caller = Caller.OTHER if function is None else Caller.FUNCTION
        with self._lock:
            self._counts[target.service, target.operation, caller] += 1
        for look in self.on_call:
            look(target, environ, function)

    def clear(self) -> None:
        """Start from zero."""
        with self._lock:
            self._counts.clear()

    def by_operation(self, caller: Caller | None = None) -> dict[str, dict[str, int]]:
        """Answer service → operation → count, of one kind of caller or of all."""
        with self._lock:
            counts = sorted(self._counts.items())
        answer: dict[str, dict[str, int]] = {}
        for (service, operation, by), count in counts:
            if caller in (None, by):
                operations = answer.setdefault(service, {})
                operations[operation] = operations.get(operation, 0) + count
        return answer


class Endpoint:
    """Answers AWS calls; its parts can be looked at: `calls`, `faults`, `buckets`."""

    def __init__(
        self, *, calls: CallCount, faults: Faults, buckets: TokenBuckets | None, execution: Execution
    ) -> None:
        """Serve without EC2 throttling where `buckets` is None."""
        self._calls = calls
        self._faults = faults
        self._buckets = buckets
        self._execution = execution
        self._handlers: dict[tuple[str, str], Handler] = {}

    def attach(self, stand_ins: Iterable[StandIn]) -> None:
        """Let these stand-ins answer what they name."""
        for stand_in in stand_ins:
            for operation, handler in stand_in.handlers().items():
                self._handlers[stand_in.service, operation] = handler

    def __call__(self, environ: WSGIEnvironment) -> Answer:
        """Answer one call."""
        target = recognise(environ)
        try:
            return self._answer(target, environ)
        except AwsError as error:
            return render_error(target, environ, error)
        except Exception as error:
            LOG.exception("%s %s broke the local cloud", target.service, target.operation)
            broken = AwsError("InternalError", f"The local cloud broke: {error!r}", 500)
            return render_error(target, environ, broken)

    def _answer(self, target: Target, environ: WSGIEnvironment) -> Answer:
        by_function = target.access_key == FUNCTION_KEY and target.signed is Signed.HEADER
        caller = Caller.FUNCTION if by_function else Caller.OTHER
        self._calls.add(target, environ, self._execution.function if by_function else None)
        if by_function and not self._execution.is_alive:
            raise KILLED
        effect = self._fault(target, environ, caller)
        if effect and effect.error:
            raise AwsError(effect.error.code, effect.error.message, effect.error.status)
        if effect and effect.kill == "before" and by_function:
            self._execution.kill()
            raise KILLED
        answer = self._serve(target, environ)
        if effect and effect.kill == "after" and by_function:
            self._execution.kill()
            raise KILLED
        return answer

    def _fault(self, target: Target, environ: WSGIEnvironment, caller: Caller) -> Effect | None:
        raw = (str(environ["RAW_URI"]).encode("latin-1"), environ["wsgi.input"].getvalue())
        return self._faults.for_call(target.service, target.operation, caller, raw)

    def _serve(self, target: Target, environ: WSGIEnvironment) -> Answer:
        handler = self._handlers.get((target.service, target.operation))
        throttled = self._buckets is not None and target.service == "ec2"
        if handler is None and not throttled:
            return pass_on(target.service, environ)
        call = Call(
            service=target.service,
            operation=target.operation,
            region=target.region,
            account=ACCOUNT,
            params=parse(target, environ),
            access_key=target.access_key,
            environ=environ,
        )
        if self._buckets is not None and throttled:
            self._buckets.admit(call)
        if handler is None:
            return pass_on(target.service, environ)
        with lock_of(target.service):
            return handle(handler, call, target)


def handle(handler: Handler, call: Call, target: Target) -> Answer:
    """Let a stand-in answer; what moto answered on its behalf is sent on as it is."""
    passed: list[Response] = []

    def ask_moto() -> Response:
        answer = pass_on(call.service, call.environ)
        headers = Headers(answer.headers)
        length = headers.get("Content-Length")
        response = Response(answer.body, answer.status, headers)
        if length:  # a HEAD answers the length of the object without its bytes
            response.headers["Content-Length"] = length
        passed.append(response)
        return response

    result = handler(call, ask_moto)
    if result is not None:
        return render_result(target, call.environ, result)
    response = passed[-1] if passed else ask_moto()
    return Answer(response.status_code, list(response.headers.items()), response.get_data())
