"""The AWS endpoint: every call passes here, is counted, meets its faults and limits, and is answered.

A call is recognised, counted, perhaps refused (for its signature, by a fault, by a bucket), then answered by
the service's stand-in or by moto; a fault may delay it or lose its answer. Our errors are rendered in the
protocol of the service. The endpoint knows nothing of services except EC2's buckets.
"""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.utils import formatdate
from functools import lru_cache
from wsgiref.types import WSGIEnvironment

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, StandIn
from local_cloud.control.faults import Caller, Effect, Error, Faults, OutsideCall
from local_cloud.lambda_.executions import Execution, Executions
from local_cloud.lambda_.functions import FUNCTION_KEY
from local_cloud.passing import lock_of, pass_on
from local_cloud.recognise import Signed, Target, recognise
from local_cloud.server import AnswerLostError, HttpAnswer
from local_cloud.services.ec2.buckets import TokenBuckets
from local_cloud.services.iam.refusals import RefusedError, in_words_of
from local_cloud.services.iam.signatures import Signatures
from local_cloud.wire import parse, render_error, render_result

LOG = logging.getLogger(__name__)
OnCall = Callable[[Target, WSGIEnvironment, str | None], None]
"""Is called before a call is answered; the text is the name of the calling function."""
OnAnswer = Callable[[Target, str | None, int], None]
"""Is called after a call is answered, with the calling function and the HTTP status."""
# On AWS a function that was killed gets no answer. It must not take this one for a refusal of AWS's, which
# would be a 4xx, or for a failure that is worth another try, a 5xx.
KILLED = AwsError("FunctionKilled", "The function that made this call has been killed.", status=399)
NO_EFFECT = Effect.model_construct()


class CallCount:
    """How many calls were made, by service, operation and caller; `on_call` and `on_answer` see each."""

    def __init__(self) -> None:
        self.on_call: list[OnCall] = []
        self.on_answer: list[OnAnswer] = []
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, Caller]] = Counter()

    def add(self, target: Target, environ: WSGIEnvironment, function: str | None) -> None:
        """Count one call, made by a function or else by anybody."""
        caller = Caller.OTHER if function is None else Caller.FUNCTION
        with self._lock:
            self._counts[target.service, target.operation, caller] += 1
        for look in self.on_call:
            look(target, environ, function)

    def answered(self, target: Target, function: str | None, status: int) -> None:
        """Report how a call was answered."""
        for look in self.on_answer:
            look(target, function, status)

    def clear(self) -> None:
        """Start from zero."""
        with self._lock:
            self._counts.clear()

    def by_operation(self, caller: Caller | None = None) -> dict[str, dict[str, int]]:
        """Return service → operation → count, of one kind of caller or of all."""
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
        self,
        *,
        calls: CallCount,
        faults: Faults,
        buckets: TokenBuckets | None,
        executions: Executions,
        signatures: Signatures,
        call_from_outside: Callable[[OutsideCall], object],
    ) -> None:
        """Serve without EC2 throttling where `buckets` is None."""
        self._calls = calls
        self._faults = faults
        self._buckets = buckets
        self._executions = executions
        self._signatures = signatures
        self._call_from_outside = call_from_outside
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._past: dict[tuple[str, str], Handler] = {}

    def attach(self, stand_ins: Iterable[StandIn], past: Iterable[StandIn] = ()) -> None:
        """Register the handlers of these stand-ins; those in `past` answer reads of the past only."""
        for handlers, group in ((self._handlers, stand_ins), (self._past, past)):
            for stand_in in group:
                for operation, handler in stand_in.handlers().items():
                    handlers[stand_in.service, operation] = handler

    def __call__(self, environ: WSGIEnvironment) -> HttpAnswer:
        """Return one call."""
        target = recognise(environ)
        by_function = target.access_key == FUNCTION_KEY and target.signed is Signed.HEADER
        caller = self._executions.of(environ.get("HTTP_X_AMZN_TRACE_ID")) if by_function else None
        function = caller.function if caller else None
        self._calls.add(target, environ, function)
        answer = self._answer_or_refuse(target, environ, caller)
        self._calls.answered(target, function, answer.status)
        return answer

    def _answer_or_refuse(
        self, target: Target, environ: WSGIEnvironment, caller: Execution | None
    ) -> HttpAnswer:
        try:
            self._signatures.check(environ)
            return self._answer(target, environ, caller)
        except RefusedError as refused:
            return render_error(target, environ, in_words_of(target.service, refused))
        except AwsError as error:
            return render_error(target, environ, error)
        except AnswerLostError:
            raise
        except Exception as error:
            LOG.exception("%s %s broke the local cloud", target.service, target.operation)
            broken = AwsError("InternalError", f"The local cloud broke: {error!r}", 500)
            return render_error(target, environ, broken)

    def _answer(self, target: Target, environ: WSGIEnvironment, caller: Execution | None) -> HttpAnswer:
        """Return the answer that a fault prescribes; `caller` is the calling invocation, if there is one."""
        if caller is None:
            return self._serve_faulty(target, environ, self._fault(target, environ, Caller.OTHER))
        if not caller.is_alive:
            raise KILLED
        effect = self._fault(target, environ, Caller.FUNCTION)
        self._stop(caller, kills=effect.kill == "before", hangs=effect.hang_before)
        answer = self._serve_faulty(target, environ, effect)
        if effect.then is not None:
            self._act(effect.then)
        self._stop(caller, kills=effect.kill == "after", hangs=effect.hang)
        return answer

    def _stop(self, execution: Execution, *, kills: bool, hangs: timedelta | None) -> None:
        """End or delay an invocation in the middle of a call; one that has ended gets no answer."""
        if hangs:
            self._executions.hang(execution, hangs)
        if kills:
            execution.kill()
        if (kills or hangs) and not execution.is_alive:
            raise KILLED

    def _act(self, action: OutsideCall | Callable[[], object]) -> None:
        """Do what a fault prescribes for an outsider."""
        if isinstance(action, OutsideCall):
            self._call_from_outside(action)
        else:
            action()

    def _serve_faulty(self, target: Target, environ: WSGIEnvironment, effect: Effect) -> HttpAnswer:
        """Return an error, no answer, or a stale answer, if a fault prescribes it."""
        if effect.error:
            raise AwsError(effect.error.code, effect.error.message, effect.error.status)
        if not effect.lose:
            return dated(self._serve(target, environ, effect.behind), effect.skew)
        with contextlib.suppress(AwsError):
            self._serve(target, environ, effect.behind)
        if isinstance(effect.lose, Error):
            raise AwsError(effect.lose.code, effect.lose.message, effect.lose.status)
        raise AnswerLostError

    def _fault(self, target: Target, environ: WSGIEnvironment, caller: Caller) -> Effect:
        address = str(environ["RAW_URI"]).encode("latin-1")
        raw = (target.region.encode(), address, environ["wsgi.input"].getvalue())
        return self._faults.for_call(target.service, target.operation, caller, raw) or NO_EFFECT

    def _serve(self, target: Target, environ: WSGIEnvironment, behind: timedelta) -> HttpAnswer:
        key = (target.service, target.operation)
        handler = (self._past.get(key) if behind else None) or self._handlers.get(key)
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
            behind=behind,
        )
        if self._buckets is not None and throttled:
            self._buckets.admit(call)
        if handler is None:
            return pass_on(target.service, environ)
        with lock_of(target.service):
            return handle(handler, call, target)


def dated(answer: HttpAnswer, skew: timedelta | None) -> HttpAnswer:
    """Return an answer with the time of AWS's clock, as every answer of AWS's has it."""
    date = ("Date", http_date(int(time.time() + (skew.total_seconds() if skew else 0.0))))
    headers = answer.headers if isinstance(answer.headers, list) else list(answer.headers.items())
    return HttpAnswer(answer.status, [*headers, date], answer.body)


@lru_cache(2)
def http_date(second: int) -> str:
    """Return a time as HTTP writes it."""
    return formatdate(second, usegmt=True)


def handle(handler: Handler, call: Call, target: Target) -> HttpAnswer:
    """Return the answer of a stand-in; moto's answer on its behalf is passed on unchanged."""
    passed: list[Response] = []

    def ask_moto() -> Response:
        answer = pass_on(call.service, call.environ)
        headers = Headers(answer.headers)
        length = headers.get("Content-Length")
        response = Response(answer.body, answer.status, headers)
        if length:  # the answer to a HEAD has the length of the object without its bytes
            response.headers["Content-Length"] = length
        passed.append(response)
        return response

    result = handler(call, ask_moto)
    if result is not None:
        return render_result(target, call.environ, result)
    response = passed[-1] if passed else ask_moto()
    return HttpAnswer(response.status_code, list(response.headers.items()), response.get_data())
