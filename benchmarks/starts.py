"""What can be said of the moments at which snapshots started, and the bound that EC2's bucket sets. Pure.

EC2 admits 100 CreateSnapshots at once and 5 a second after them, per account and region
(https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html): with one call for each instance, no
one starts the last of N sooner than (N - 100) / 5 seconds after the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

BUCKET_SIZE = 100
REFILL_PER_SECOND = 5


@dataclass(frozen=True, slots=True)
class Starts:
    """When the calls that started snapshots were answered, in simulated seconds after they were due."""

    count: int
    p50_seconds: float
    p99_seconds: float
    last_seconds: float
    bound_seconds: float
    times_bound: float | None
    """The last start over the bound; None where the bound is 0."""
    bucket_used: float
    """The share of the tokens there were, from the first due moment to the last start, that started one."""


def bound_seconds(calls: int) -> float:
    """Return how long the bucket alone makes this many calls take."""
    return max(0, calls - BUCKET_SIZE) / REFILL_PER_SECOND


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values, or `percent` is not from 1 to 100.
    """
    if not values or not 1 <= percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(values)} values")
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def sum_up(seconds: Sequence[float], needed: int) -> Starts | None:
    """Sum up the starts, where `needed` calls would have done; None if nothing started."""
    if not seconds:
        return None
    last, bound = max(seconds), bound_seconds(needed)
    return Starts(
        count=len(seconds),
        p50_seconds=percentile(seconds, 50),
        p99_seconds=percentile(seconds, 99),
        last_seconds=last,
        bound_seconds=bound,
        times_bound=last / bound if bound else None,
        bucket_used=len(seconds) / (BUCKET_SIZE + REFILL_PER_SECOND * last),
    )
