"""Removes what a job made and is not needed: by recorded ids only, repeated until it is gone. Pure.

What cannot be removed now (an AMI uses a snapshot, a permission is missing) delays nothing else, is tried
again with growing pauses, and is listed on the job when its time for cleaning is over. A job that has done
its work does not wait that long: the inventory finds what is left of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.errors import FarshoreError, Permanent
from chalicelib.jobs.decision import Wait

# A job's record has room for this many of what could not be removed, each with the beginning of why.
MOST_REFUSED = 200
LONGEST_WHY = 300
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
# How many times a job that has done its work tries: for half an hour.
TRIES_AT_END = 5


@dataclass(frozen=True, slots=True)
class Removal:
    """What is removed, what could not be and why, and when that was last tried."""

    removed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    tried_at: datetime | None = None
    tries: int = 0

    def left_of(self, recorded: Iterable[str]) -> tuple[str, ...]:
        """Return what is recorded and not removed, each once."""
        gone = set(self.removed)
        return tuple(dict.fromkeys(each for each in recorded if each not in gone))

    def can_leave(self, recorded: Iterable[str]) -> bool:
        """Return whether everything recorded is removed, or refused and listed here."""
        return len(self.refused) <= MOST_REFUSED and set(self.left_of(recorded)) <= set(self.refused)

    def due(self, recorded: Iterable[str], now: datetime) -> "tuple[str, ...] | Wait":
        """Return what to remove now (nothing: all is removed), or the wait for the next try."""
        left = self.left_of(recorded)
        new = tuple(each for each in left if each not in self.refused)
        if new or not left:
            return new
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.tries, 10))
        again_at = (self.tried_at or now) + pause
        if now >= again_at:
            return left
        why = "; ".join(f"{each}: {self.refused[each]}" for each in left[:3])
        return Wait(again_at, f"could not remove {len(left)} of what was made, will try again: {why}")


def remove(
    removal: Removal,
    ids: Iterable[str],
    delete: Callable[[str], None],
    now: datetime,
    *,
    at_end: bool = False,
) -> Removal:
    """Delete each id and return the result; one that is refused for good does not stop the others.

    With `at_end`, for a job that has done its work, one that is refused for now does not stop them either.

    Raises:
        Retryable: one was refused for now; those before it are deleted again later, which does no harm.
    """
    refusals = FarshoreError if at_end else Permanent
    removed, refused = list(removal.removed), dict(removal.refused)
    for each in ids:
        try:
            delete(each)
        except refusals as refusal:
            refused[each] = str(refusal)[:LONGEST_WHY]
        else:
            removed.append(each)
            refused.pop(each, None)
    tries = removal.tries + 1 if refused else removal.tries
    return replace(removal, removed=tuple(removed), refused=refused, tried_at=now, tries=tries)
