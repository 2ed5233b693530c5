"""Decides how long a job pauses after an error, and when it gives up. Pure.

A backoff with jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). After a
quota was reached, the job waits until its deadline; whatever frees the quota pokes it.
"""

from dataclasses import dataclass
from datetime import timedelta

from chalicelib.errors import FarshoreError, QuotaReached

FIRST = timedelta(seconds=5)
LONGEST = timedelta(minutes=15)
GIVE_UP_AFTER_ATTEMPTS = 24
# A quota is tried again after at most 5 s * 2^6.
LONGEST_QUOTA_EXPONENT = 6


@dataclass(frozen=True, slots=True)
class Pause:
    """Try again after `delay`; `attempts` is the new number of failed ones."""

    delay: timedelta
    attempts: int


def pause_after(error: FarshoreError, attempts: int, jitter: float, *, cleaning: bool) -> Pause | None:
    """Return the pause after a failed attempt, None to give up; `jitter` is from 0 to 1.

    `attempts` failed before this one. Cleaning up is never given up here.
    """
    attempts += 1
    if isinstance(error, QuotaReached):
        attempts = min(attempts, LONGEST_QUOTA_EXPONENT)
    if attempts > GIVE_UP_AFTER_ATTEMPTS and not cleaning:
        return None
    longest = min(LONGEST, FIRST * 2 ** min(attempts, 10))
    return Pause(FIRST + (longest - FIRST) * jitter, attempts)
