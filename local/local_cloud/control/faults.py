"""Faults on demand: what goes wrong, at which call or event, how often.

A fault matches calls (by service, operation, a substring of the request or its region, caller) or events (by
detail-type). `skip` ignores the first matches; `count` ends the fault after this many. The first fault of the
list that matches acts; the others do not count that call. Delay, drop and duplicate are for events, all
others for calls; kill and hang affect calls of functions only.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from local_cloud.control.durations import parse_duration


def _in_milliseconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds() * 1000)}ms"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(_in_milliseconds)]
FOR_EVENTS = frozenset({"delay", "drop", "duplicate"})
FOR_FUNCTIONS = frozenset({"kill", "hang", "hang_before", "then"})
READS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "stale": {"dynamodb": ("Query", "Scan", "GetItem", "BatchGetItem")},
    "lag": {
        "ec2": ("DescribeInstances", "DescribeSnapshots", "DescribeVolumes"),
        "ssm": ("DescribeInstanceInformation", "ListCommands", "ListCommandInvocations"),
    },
}
"""What can be answered as things were before: by effect, the operations of each service."""
CONSISTENT = re.compile(r'"ConsistentRead":\s*true')


class Caller(StrEnum):
    """Who makes a call: one of the stack's functions, or anybody else."""

    FUNCTION = "function"
    OTHER = "other"


class Strict(BaseModel):
    """A part of a fault document; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(Strict):
    """Which calls or events a fault is for."""

    service: str = "*"
    operation: str = "*"
    resource: str = ""
    caller: Literal["function", "other", "any"] = "any"
    event: str | None = None

    def fits_call(self, service: str, operation: str, caller: Caller, request: str) -> bool:
        """Return whether a call is meant."""
        return (
            self.event is None
            and self.service in ("*", service)
            and self.operation in ("*", operation)
            and self.caller in ("any", caller)
            and self.resource in request
        )


class Error(Strict):
    """An error is returned instead of the call's result."""

    code: str
    status: int = Field(default=400, ge=400, le=599)
    message: str = "A fault was asked for."


class OutsideCall(Strict):
    """A call that somebody outside of the app makes, with the operator's rights."""

    service: str
    operation: str
    region: str
    params: dict[str, Any] = Field(default_factory=dict)


def _named(action: OutsideCall | Callable[[], object]) -> object:
    return action.model_dump() if isinstance(action, OutsideCall) else repr(action)


Action = Annotated[OutsideCall | Callable[[], object], PlainSerializer(_named)]


class Effect(Strict):
    """What goes wrong; exactly one of these."""

    error: Error | None = None
    kill: Literal["before", "after"] | None = None
    lose: Literal[True] | Error | None = None
    """The call takes effect, but the caller sees a failure: an error, or a closed connection."""
    hang: Duration | None = None
    """The call takes effect, and is answered after this simulated time; other functions run meanwhile."""
    hang_before: Duration | None = None
    """The call takes effect, and is answered, after this simulated time; other functions run meanwhile."""
    then: Action | None = None
    """Somebody outside calls AWS, or a function of the test's runs, before the call is answered."""
    stale: Duration | None = None
    """A read that is not strongly consistent shows what was true this long ago, or when the fault began."""
    lag: Duration | None = None
    """A listing shows nothing that was made, and no snapshot as complete that was completed, since then."""
    skew: Duration | None = None
    """The answer says that it is so much later than it is."""
    delay: Duration | None = None
    drop: Literal[True] | None = None
    duplicate: int | None = Field(default=None, ge=2, le=10)

    @pydantic.model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """Return which of them it is."""
        return next(iter(self.model_fields_set))

    @property
    def behind(self) -> timedelta:
        """Return how long ago a read shows things as they were."""
        return self.stale or self.lag or timedelta(0)


class Fault(Strict):
    """One fault, as it is sent and answered."""

    match: Match
    effect: Effect
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _effect_fits(self) -> Self:
        kind = self.effect.kind
        if (kind in FOR_EVENTS) != (self.match.event is not None):
            raise ValueError(f"match.event goes with {', '.join(sorted(FOR_EVENTS))}, and with nothing else")
        if kind in FOR_FUNCTIONS and self.match.caller == "other":
            raise ValueError(f"{kind} is for calls of functions")
        if kind in READS and not self._may_meet_a_read(kind):
            raise ValueError(f"{kind} is for reads: {'; '.join(map(_listed, READS[kind].items()))}")
        return self

    def _may_meet_a_read(self, kind: str) -> bool:
        service, operation = self.match.service, self.match.operation
        return any(
            service in ("*", name) and operation in ("*", *operations)
            for name, operations in READS[kind].items()
        )

    def fits_call(self, service: str, operation: str, caller: Caller, request: str) -> bool:
        """Return whether it is for a call."""
        kind = self.effect.kind
        if kind in FOR_FUNCTIONS and caller is not Caller.FUNCTION:
            return False
        if kind in READS and operation not in READS[kind].get(service, ()):
            return False
        if kind == "stale" and CONSISTENT.search(request):
            return False
        return self.match.fits_call(service, operation, caller, request)

    def fits_event(self, detail_type: str) -> bool:
        """Return whether it is for an event."""
        return self.match.event in (detail_type, "*")


DOCUMENT = TypeAdapter(list[Fault])


class Faults:
    """The faults in force, and how often each has met its match."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._met: list[int] = []

    def replace(self, document: object) -> None:
        """Replace all faults with these; their counts start at zero.

        Raises:
            ValueError: the document is not a list of faults; the message names every place.
        """
        try:
            faults = DOCUMENT.validate_python(document)
        except ValidationError as error:
            raise ValueError("; ".join(_problems(error))) from error
        with self._lock:
            self._faults, self._met = faults, [0] * len(faults)

    def to_document(self) -> list[dict[str, Any]]:
        """Return the faults in force, with how often each was met."""
        with self._lock:
            return [
                {**fault.model_dump(mode="json", exclude_defaults=True), "met": met}
                for fault, met in zip(self._faults, self._met, strict=True)
            ]

    def for_call(self, service: str, operation: str, caller: Caller, raw: Sequence[bytes]) -> Effect | None:
        """Return what goes wrong with a call; `raw` is its region, address, body."""
        if not self._faults:
            return None
        request = b"\n".join(raw).decode("utf-8", "replace")
        return self._meet(lambda fault: fault.fits_call(service, operation, caller, request))

    def for_event(self, detail_type: str) -> Effect | None:
        """Return what goes wrong with an event on its way."""
        return self._meet(lambda fault: fault.fits_event(detail_type)) if self._faults else None

    def staleness(self) -> timedelta:
        """Return how long ago a table may have to be shown as it was; zero while no fault asks for it."""
        return max((fault.effect.stale or timedelta(0) for fault in self._faults), default=timedelta(0))

    def _meet(self, fits: Callable[[Fault], bool]) -> Effect | None:
        with self._lock:
            for number, fault in enumerate(self._faults):
                if not fits(fault):
                    continue
                self._met[number] += 1
                turn = self._met[number] - fault.skip
                if turn >= 1 and (fault.count is None or turn <= fault.count):
                    return fault.effect
        return None


def _listed(reads: tuple[str, Sequence[str]]) -> str:
    return f"{reads[0]} {', '.join(reads[1])}"


def _problems(error: ValidationError) -> list[str]:
    return [f"/{'/'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
