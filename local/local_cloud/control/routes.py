"""The control server: clock, instances, call counts, faults, capacity, alarms, mails. JSON in, JSON out.

POST   /clock      {"advance": "1h"} or {"now": "2030-01-01T00:00:00Z"}  ->  {"now": ...}
GET    /clock                                                            ->  {"now": ...}
POST   /sessions   {"function": "farshore-Tick"}    ->  keys of a session of that function's role
GET    /instances                                   ->  {instance id: its directory}
POST   /interruptions {"instance": "i-...", "action": "terminate"}  warns, then ends a Spot Instance
POST   /rebalances    {"instance": "i-..."}                         recommends to rebalance a Spot Instance
GET    /calls[?caller=function|other]               ->  {service: {operation: count}}
DELETE /calls                                       starts the count from zero
GET    /faults                                      ->  the faults in force, with how often each was met
PUT    /faults     [fault, ...]                     replaces all faults with these
GET    /capacity                                    ->  what EC2 has room for, and the quotas
PUT    /capacity   {"zones": [...], "quotas": [...]}  replaces all limits with these
GET    /alarms                                      ->  {alarm: its state}
GET    /mails                                       ->  what topics have mailed, the oldest first
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs
from wsgiref.types import WSGIEnvironment

from local_cloud.control.capacity import Capacity
from local_cloud.control.clock import Clock
from local_cloud.control.durations import parse_duration
from local_cloud.control.faults import Caller, Faults
from local_cloud.control.timeline import Timeline
from local_cloud.endpoint import CallCount
from local_cloud.server import HttpAnswer
from local_cloud.services.iam.sessions import Session

LOG = logging.getLogger(__name__)


class Spot(Protocol):
    """What takes Spot Instances back."""

    def interrupt(self, instance_id: str, action: str = "terminate") -> None:
        """Warn an instance, and end it; a ValueError says what is wrong."""
        ...

    def recommend_rebalance(self, instance_id: str) -> None:
        """Recommend to rebalance; a ValueError says what is wrong."""
        ...


class Control:
    """Answers the operator's requests."""

    def __init__(
        self,
        *,
        clock: Clock,
        timeline: Timeline,
        calls: CallCount,
        faults: Faults,
        capacity: Capacity,
        instances: Callable[[], Mapping[str, Path]],
        spot: Spot,
        open_session: Callable[[str], Session],
        alarms: Callable[[], Mapping[str, str]],
        mails: Callable[[], Sequence[object]],
    ) -> None:
        self._clock = clock
        self._timeline = timeline
        self._calls = calls
        self._faults = faults
        self._capacity = capacity
        self._instances = instances
        self._spot = spot
        self._open_session = open_session
        self._routes: Mapping[tuple[str, str], Callable[[WSGIEnvironment], object]] = {
            ("GET", "/clock"): lambda _: self._now(),
            ("POST", "/clock"): self._advance,
            ("POST", "/sessions"): self._session,
            ("GET", "/instances"): lambda _: {
                key: str(path) for key, path in sorted(self._instances().items())
            },
            ("POST", "/interruptions"): self._interrupt,
            ("POST", "/rebalances"): self._rebalance,
            ("GET", "/calls"): self._count,
            ("DELETE", "/calls"): self._forget_calls,
            ("GET", "/faults"): lambda _: self._faults.to_document(),
            ("PUT", "/faults"): self._set_faults,
            ("GET", "/capacity"): lambda _: self._capacity.to_document(),
            ("PUT", "/capacity"): self._set_capacity,
            ("GET", "/alarms"): lambda _: alarms(),
            ("GET", "/mails"): lambda _: mails(),
        }

    def __call__(self, environ: WSGIEnvironment) -> HttpAnswer:
        """Answer one request: 404 and 405 for unknown routes, 400 with the reason for bad input."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        route = self._routes.get((method, path))
        if route is None:
            methods = sorted(known for known, where in self._routes if where == path)
            status = 405 if methods else 404
            known = f"it takes {', '.join(methods)}" if methods else f"there are {self._paths()}"
            return written(status, {"error": f"{method} {path}: {known}"})
        try:
            return written(200, route(environ))
        except ValueError as error:
            return written(400, {"error": str(error)})
        except Exception as error:
            LOG.exception("%s %s broke the local cloud", method, path)
            return written(500, {"error": repr(error)})

    def _paths(self) -> str:
        return ", ".join(sorted({path for _, path in self._routes}))

    def _now(self) -> dict[str, str]:
        return {"now": self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")}

    def _advance(self, environ: WSGIEnvironment) -> dict[str, str]:
        self._timeline.run_until(self._target(document_of(environ)))
        return self._now()

    def _target(self, document: object) -> datetime:
        """Read where the clock is to go; it goes forward only."""
        match document:
            case {"advance": advance, **others} if not others:
                return self._forward(parse_duration(advance))
            case {"now": str(text), **others} if not others:
                return self._later(text)
        raise ValueError('write {"advance": "1h"} or {"now": "2030-01-01T00:00:00Z"}')

    def _forward(self, by: timedelta) -> datetime:
        try:
            return self._clock.now() + by
        except OverflowError as error:
            raise ValueError("that is beyond the year 9999") from error

    def _later(self, text: str) -> datetime:
        try:
            when = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not an RFC 3339 time, like 2030-01-01T00:00:00Z") from error
        if when.tzinfo is None:
            raise ValueError(f"{text!r} has no offset; write one, like 2030-01-01T00:00:00Z")
        if when < self._clock.now():
            raise ValueError(f"{text} is past: it is {self._now()['now']}, and the clock goes forward only")
        return when.astimezone(UTC)

    def _session(self, environ: WSGIEnvironment) -> dict[str, str | None]:
        match document_of(environ):
            case {"function": str(name), **others} if not others:
                session = self._open_session(name)
            case _:
                raise ValueError('write {"function": "farshore-Tick"}')
        return {
            "AWS_ACCESS_KEY_ID": session.access_key,
            "AWS_SECRET_ACCESS_KEY": session.secret,
            "AWS_SESSION_TOKEN": session.token,
        }

    def _interrupt(self, environ: WSGIEnvironment) -> object:
        match document_of(environ):
            case {"instance": str(instance_id), "action": str(action), **others} if not others:
                self._spot.interrupt(instance_id, action)
            case {"instance": str(instance_id), **others} if not others:
                self._spot.interrupt(instance_id)
            case _:
                raise ValueError('write {"instance": "i-...", "action": "terminate"}')
        return {}

    def _rebalance(self, environ: WSGIEnvironment) -> object:
        match document_of(environ):
            case {"instance": str(instance_id), **others} if not others:
                self._spot.recommend_rebalance(instance_id)
            case _:
                raise ValueError('write {"instance": "i-..."}')
        return {}

    def _count(self, environ: WSGIEnvironment) -> dict[str, dict[str, int]]:
        callers = parse_qs(environ["QUERY_STRING"]).get("caller")
        return self._calls.by_operation(Caller(callers[0]) if callers else None)

    def _forget_calls(self, _: WSGIEnvironment) -> dict[str, dict[str, int]]:
        self._calls.clear()
        return {}

    def _set_faults(self, environ: WSGIEnvironment) -> object:
        self._faults.replace(document_of(environ))
        return self._faults.to_document()

    def _set_capacity(self, environ: WSGIEnvironment) -> object:
        self._capacity.replace(document_of(environ))
        return self._capacity.to_document()


def document_of(environ: WSGIEnvironment) -> Any:
    """Read the JSON body.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(environ["wsgi.input"].getvalue())
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from error


def written(status: int, document: object) -> HttpAnswer:
    """Return a JSON answer."""
    return HttpAnswer(status, {"Content-Type": "application/json"}, json.dumps(document).encode() + b"\n")
