"""EC2's request token buckets, per account and region, refilled on the simulated clock.

Sizes and refills: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html. A request takes a
token of its operation's bucket; RunInstances also takes one resource token per instance. With an empty
bucket the answer is `RequestLimitExceeded`, and no token is taken.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local_cloud.call import AwsError, Call

Now = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket's size and its refill per second."""

    size: float
    per_second: float


BULK = Rate(100, 5)
OF_SNAPSHOTS_AND_VOLUMES = (
    "CreateSnapshot",
    "CreateSnapshots",
    "DeleteSnapshot",
    "CreateVolume",
    "DeleteVolume",
)
RATES: Mapping[str, Rate] = {
    **dict.fromkeys(OF_SNAPSHOTS_AND_VOLUMES, BULK),
    "CreateTags": Rate(100, 10),
}
MUTATING = Rate(50, 5)
READING = Rate(100, 20)
UNBOUNDED_READING = Rate(50, 10)
RUN_INSTANCES = Rate(1000, 2)
UNBOUNDED = {
    "DescribeSnapshots": "SnapshotIds",
    "DescribeInstances": "InstanceIds",
    "DescribeVolumes": "VolumeIds",
}
"""Reads that are dearer without a filter or paging, with the parameter that also bounds them."""


class Bucket:
    """One bucket, full when made."""

    def __init__(self, rate: Rate, now: datetime) -> None:
        self._rate = rate
        self._tokens = rate.size
        self._filled_at = now

    def take(self, tokens: float, now: datetime) -> bool:
        """Take this many tokens, if they are there."""
        elapsed = max(0.0, (now - self._filled_at).total_seconds())
        self._tokens = min(self._rate.size, self._tokens + elapsed * self._rate.per_second)
        self._filled_at = now
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True


class TokenBuckets:
    """All buckets of all accounts and regions."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, str, str], Bucket] = {}

    def admit(self, call: Call) -> None:
        """Take the tokens an EC2 call costs.

        Raises:
            AwsError: a bucket does not have them.
        """
        name, rate = rate_of(call.operation, call.params)
        self._take(call, name, rate, 1)
        if call.operation == "RunInstances":
            self._take(call, "RunInstances/instances", RUN_INSTANCES, float(call.params.get("MaxCount", 1)))

    def clear(self) -> None:
        """Fill every bucket."""
        with self._lock:
            self._buckets.clear()

    def _take(self, call: Call, name: str, rate: Rate, tokens: float) -> None:
        now = self._now()
        with self._lock:
            bucket = self._buckets.setdefault((call.account, call.region, name), Bucket(rate, now))
            if not bucket.take(tokens, now):
                raise AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)


def rate_of(operation: str, params: Mapping[str, Any]) -> tuple[str, Rate]:
    """Return an operation's bucket: its own, or the one it shares with its kind."""
    if operation in RATES:
        return operation, RATES[operation]
    if not operation.startswith(("Describe", "Get", "List", "Search")):
        return operation, MUTATING
    bound_by = UNBOUNDED.get(operation)
    if bound_by and not any(params.get(name) for name in (bound_by, "Filters", "MaxResults")):
        return f"{operation}/unbounded", UNBOUNDED_READING
    return operation, READING
