"""What one job holds at a time: locks on what it works at, and copy slots of a region.

A lock keeps two operations from one instance; a slot keeps the account's quota of concurrent snapshot copies
(20 per destination region, https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html) full and
never overrun. Both are claimed in the transaction that records the intent and given back in one that commits
what came of it. Who finds no slot is enqueued, and is poked when one is freed.

Invariant: a claim names its holder, so what a job that is over still holds can be told and is healed.
"""

import random
from dataclasses import dataclass
from datetime import datetime

from chalicelib.catalog.store.items import moment, stamp
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.writes import Attr, Role, Write

SLOT_PREFIX = "slot#"
_WAITING = "waiting#"
_LOCK = "lock#"


@dataclass(frozen=True, slots=True)
class Claim:
    """A lock or slot that is held: by which job, for what, since when."""

    key: tuple[str, str]
    job: str
    purpose: str
    since: datetime


def lock_of_instance(instance_id: str) -> str:
    """Return the name of the lock on an instance."""
    return f"instance {instance_id}"


def lock_of_copy(point: str, vault: str) -> str:
    """Return the name of the lock on a point's place in a vault: one job at a time fills it."""
    return f"copy of {point} into {vault}"


def locking(name: str, job_id: str, now: datetime) -> Write:
    """Take a lock; taking one's own again is fine."""
    free_or_own = Attr("pk").not_exists() | Attr("job").eq(job_id)
    put = {"format": 1, "job": job_id, "purpose": name, "since": stamp(now)}
    return Write(_lock_key(name), Role.CLAIM, put=put, condition=free_or_own)


def unlocking(name: str, job_id: str) -> Write:
    """Give a lock back; one that is another's by now stays."""
    return Write(_lock_key(name), Role.RELEASE, deletes=True, condition=Attr("job").eq(job_id))


def acquiring(region: str, slot: str, purpose: str, job_id: str, now: datetime) -> Write:
    """Take a slot that is free."""
    put = {"format": 1, "job": job_id, "purpose": purpose, "since": stamp(now)}
    return Write((_slots(region), slot), Role.CLAIM, put=put, condition=Attr("pk").not_exists())


def releasing(region: str, slot: str, job_id: str) -> Write:
    """Give a slot back."""
    return Write((_slots(region), slot), Role.RELEASE, deletes=True, condition=Attr("job").eq(job_id))


def lock_named_by(write: Write) -> str | None:
    """Return the name of the lock that a write is about, None when it is about something else."""
    pk = write.key[0]
    return pk.removeprefix(_LOCK) if pk.startswith(_LOCK) else None


class Claims:
    """Reads claims, chooses free slots, keeps the line of those who wait for one; `limit` is per region."""

    def __init__(self, table: Table, limit: int) -> None:
        self._table = table
        self._limit = limit

    def lock_holder(self, name: str) -> str | None:
        """Return the job that holds a lock, None when nobody does."""
        item = self._table.get(*_lock_key(name))
        return str(item["job"]) if item else None

    def free_slot(self, region: str) -> str | None:
        """Return the name of a slot that is free now, None when none is."""
        held = {claim.key[1] for claim in self.slots(region)}
        free = [name for number in range(self._limit) if (name := f"{SLOT_PREFIX}{number:04d}") not in held]
        return random.choice(free) if free else None  # noqa: S311 - spreads those who come at once, no secret

    def slots(self, region: str) -> tuple[Claim, ...]:
        """Return the slots of a region that are held."""
        return tuple(
            Claim((item["pk"], item["sk"]), item["job"], item["purpose"], moment(item["since"]))
            for item in self._table.partition(_slots(region), prefix=SLOT_PREFIX)
        )

    def heal(self, claim: Claim) -> None:
        """Take a claim from a job that is over."""
        self._table.commit([Write(claim.key, deletes=True, condition=Attr("job").eq(claim.job))])

    def heal_lock(self, name: str, holder: str) -> None:
        """Take a lock from a job that is over."""
        self._table.commit([unlocking(name, holder)])

    def enqueue(self, region: str, job_id: str, since: datetime) -> None:
        """Let the job be named when a slot is freed; enqueued twice is enqueued once."""
        self._table.put({"pk": _slots(region), "sk": f"{_WAITING}{stamp(since)}#{job_id}", "job": job_id})

    def next_waiting(self, region: str, number: int) -> tuple[str, ...]:
        """Take the jobs that have waited longest out of the line and name them.

        They are to be poked; should that be lost, they look again by themselves and are enqueued anew.
        """
        named = []
        for item in self._table.partition(_slots(region), prefix=_WAITING, limit=number):
            self._table.delete(item["pk"], item["sk"])
            named.append(str(item["job"]))
        return tuple(named)


def _lock_key(name: str) -> tuple[str, str]:
    return f"{_LOCK}{name}", "lock"


def _slots(region: str) -> str:
    return f"slots#{region}"
