"""Paces calls by the account's request buckets: fully used, never exceeded; one throttle slows all calls.

EC2 gives each account, region and operation a bucket of tokens
(https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html). Every call reserves its turn in one
record of the bucket: the turns of a burst are now, later ones follow at the rate of the refill. A job whose
turn comes later is poked then, so workers neither race nor back off separately. If EC2 throttles all the same
(others use the account, too), the record is emptied and every turn waits.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Attr, Write
from chalicelib.errors import Throttled
from chalicelib.jobs.job import Budget, Permit
from chalicelib.settings import Bucket

# A call comes a little after its turn, so a few turns of the burst are kept back, and a little of the refill.
HELD_BACK = 10
USED_OF_REFILL = 0.98
# How long all calls wait after a throttle: what the bucket regains in that time serves the first ones.
SLOWED_FOR = timedelta(seconds=5)
_RACES = 20


# Per account and region. https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
BUCKETS: Mapping[str, Bucket] = {
    "CreateSnapshot": Bucket(size=100, refill_per_second=5),
    "CreateSnapshots": Bucket(size=100, refill_per_second=5),
    "DeleteSnapshot": Bucket(size=100, refill_per_second=5),
    "CreateVolume": Bucket(size=100, refill_per_second=5),
    "DeleteVolume": Bucket(size=100, refill_per_second=5),
    "AttachVolume": Bucket(size=50, refill_per_second=5),
    "DetachVolume": Bucket(size=50, refill_per_second=5),
    "CopySnapshot": Bucket(size=50, refill_per_second=5),
    # A token for each instance.
    "RunInstances": Bucket(size=1000, refill_per_second=2),
    "TerminateInstances": Bucket(size=50, refill_per_second=5),
}


class Pacer:
    """Reserves turns. `buckets` are the account's own where they differ from EC2's defaults."""

    def __init__(self, table: Table, buckets: Mapping[str, Bucket] = BUCKETS) -> None:
        self._table = table
        self._buckets = {**BUCKETS, **buckets}

    def reserve(self, budget: Budget, now: datetime) -> Permit:
        """Reserve the next turns of a bucket; return the permit for the last of them."""
        return self.reserve_all([budget], now)[0]

    def reserve_all(self, budgets: list[Budget], now: datetime) -> list[Permit]:
        """Reserve turns of one bucket for many jobs in one write; return them in order."""
        if not budgets:
            return []
        first = budgets[0]
        bucket = self._buckets[first.operation]
        gap_ms = 1000 / (bucket.refill_per_second * USED_OF_REFILL)
        burst_ms = max(1, bucket.size - HELD_BACK) * gap_ms
        needed_ms = sum(budget.calls for budget in budgets) * gap_ms
        end_ms = self._take(first, round(_ms(now) - burst_ms), round(needed_ms))
        turn_ms, permits = end_ms - needed_ms, []
        for budget in budgets:
            turn_ms += budget.calls * gap_ms
            permits.append(Permit(budget, max(now, datetime.fromtimestamp(turn_ms / 1000, UTC))))
        return permits

    def held_until(self, budget: Budget) -> datetime | None:
        """Return until when all calls on the bucket wait because EC2 throttled one, or None."""
        item = self._table.get(*_key(budget))
        until = int(item.get("held_until", 0)) if item else 0
        return datetime.fromtimestamp(until / 1000, UTC) if until else None

    def slow_down(self, budget: Budget, now: datetime) -> None:
        """Pause all calls on the bucket, which then starts empty."""
        until = _ms(now + SLOWED_FOR)
        held = Write(_key(budget), sets={"held_until": until})
        emptied = Write(
            _key(budget),
            sets={"held_until": until, "turn": until},
            condition=Attr("turn").not_exists() | Attr("turn").lt(until),
        )
        if self._table.commit([emptied]):
            self._table.commit([held])

    def _take(self, budget: Budget, earliest: int, needed: int) -> int:
        """Move the bucket's next turn on by `needed` ms, from `earliest` at least; return where it is."""
        for _ in range(_RACES):
            begun = Write(
                _key(budget),
                sets={"turn": earliest + needed, "format": 1},
                condition=Attr("turn").not_exists() | Attr("turn").lt(earliest),
            )
            if not self._table.commit([begun]):
                return earliest + needed
            moved = self._table.update(
                *_key(budget),
                "ADD turn :needed",
                values={":needed": needed, ":earliest": earliest},
                condition="turn >= :earliest",
            )
            if isinstance(moved, dict):
                return int(moved["turn"])
        raise Throttled("other jobs reserved every turn first", operation="pacing", resource=budget.operation)


def _key(budget: Budget) -> tuple[str, str]:
    return f"pace#{budget.region}", budget.operation


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
