"""Faults on demand: what goes wrong, at which call or event, how often.

A fault matches calls (by service, operation, a substring of the request, caller) or events (by detail-type).
`skip` lets the first matches pass; `count` ends it after so many. The first fault of the list that matches
acts; the others do not see that call. Kills and errors are for calls; delay, drop and duplicate are for
events.
"""

import threading
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from local.durations import parse_duration

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


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
        """Tell whether a call is meant."""
        return (
            self.event is None
            and self.service in ("*", service)
            and self.operation in ("*", operation)
            and self.caller in ("any", caller)
            and self.resource in request
        )


class Error(Strict):
    """An error answered in the place of the call."""

    code: str
    status: int = Field(default=400, ge=400, le=599)
    message: str = "A fault was asked for."


class Effect(Strict):
    """What goes wrong; exactly one of these."""

    error: Error | None = None
    kill: Literal["before", "after"] | None = None
    delay: Duration | None = None
    drop: Literal[True] | None = None
    duplicate: int | None = Field(default=None, ge=2, le=10)

    @pydantic.model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of error, kill, delay, drop, duplicate")
        return self

    @property
    def is_for_events(self) -> bool:
        """Tell whether it happens to events, not to calls."""
        return self.error is None and self.kill is None


class Fault(Strict):
    """One fault, as it is sent and answered."""

    match: Match
    effect: Effect
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _effect_fits(self) -> Self:
        if self.effect.is_for_events != (self.match.event is not None):
            raise ValueError("match.event goes with delay, drop and duplicate; calls take error or kill")
        return self


DOCUMENT = TypeAdapter(list[Fault])


class Faults:
    """The faults in force, and how often each has met its match."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._met: list[int] = []

    def replace(self, document: object) -> None:
        """Put these faults in force, and no others; their counts start anew.

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
        """Answer the faults in force, with how often each was met."""
        with self._lock:
            return [{**_plain(fault), "met": met} for fault, met in zip(self._faults, self._met, strict=True)]

    def for_call(self, service: str, operation: str, caller: Caller, raw: Sequence[bytes]) -> Effect | None:
        """Answer what goes wrong with a call; `raw` is its address and body."""
        if not self._faults:
            return None
        request = b"\n".join(raw).decode("utf-8", "replace")
        return self._meet(lambda match: match.fits_call(service, operation, caller, request))

    def for_event(self, detail_type: str) -> Effect | None:
        """Answer what goes wrong with an event on its way."""
        return self._meet(lambda match: match.event in (detail_type, "*")) if self._faults else None

    def _meet(self, fits: Any) -> Effect | None:
        with self._lock:
            for number, fault in enumerate(self._faults):
                if not fits(fault.match):
                    continue
                self._met[number] += 1
                turn = self._met[number] - fault.skip
                if turn >= 1 and (fault.count is None or turn <= fault.count):
                    return fault.effect
        return None


def _plain(fault: Fault) -> dict[str, Any]:
    document: dict[str, Any] = fault.model_dump(mode="json", exclude_defaults=True)
    if fault.effect.delay is not None:
        document["effect"]["delay"] = f"{int(fault.effect.delay.total_seconds() * 1000)}ms"
    return document


def _problems(error: ValidationError) -> list[str]:
    return [f"/{'/'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
