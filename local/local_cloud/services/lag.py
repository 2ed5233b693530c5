"""Listings that lag: what was made a moment ago is not shown yet, and cannot be found by its id.

AWS does not promise more: https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html.
Deletions are visible at once, and tags are shown as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local_cloud.call import AwsError, Call, Handler, PassOn

Shown = Mapping[str, Any]
AsOf = Callable[[Shown, datetime], Shown]
"""Returns a thing as it was at a moment."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What of a listing's answer says what a thing is and when it was made."""

    path: tuple[str, ...]
    """Where the things are in the answer; all but the last are lists of groups, left out when empty."""
    id: str
    made_at: str
    asked_for: str = ""
    """The parameter that names things by id, if there is one."""
    not_found: str = ""
    """The error code for an id that is not there."""
    as_of: AsOf = lambda thing, _: thing


def lagging(handler: Handler, listing: Listing, now: Callable[[], datetime]) -> Handler:
    """Return a handler that answers with an earlier state if a fault prescribes it."""

    def handle(call: Call, pass_on: PassOn) -> Shown | None:
        answer = handler(call, pass_on)
        if not call.behind or answer is None:
            return answer
        then = now() - call.behind
        seen: set[str] = set()
        shown = _earlier(answer, listing, listing.path, then, seen)
        for asked in call.params.get(listing.asked_for, ()):
            if asked not in seen:
                raise AwsError(listing.not_found, f"The ID '{asked}' does not exist")
        return shown

    return handle


def _earlier(answer: Shown, listing: Listing, path: tuple[str, ...], then: datetime, seen: set[str]) -> Shown:
    """Return only what was there `then`, as it was; note the ids in `seen`."""
    name, *deeper = path
    if deeper:
        groups = [_earlier(group, listing, tuple(deeper), then, seen) for group in answer[name]]
        return {**answer, name: [group for group in groups if group[deeper[0]]]}
    things = [listing.as_of(thing, then) for thing in answer[name] if thing[listing.made_at] <= then]
    seen.update(thing[listing.id] for thing in things)
    return {**answer, name: things}
