"""The claims of jobs: locks on what they work on, and copy slots of a region.

A lock keeps two operations from one instance; a slot keeps the account's quota of concurrent snapshot copies
(20 per destination region, https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html) fully
used and never exceeded. Both are acquired in the transaction that records the intent, and released in the one
that commits the result. A job that finds no free slot is enqueued, and poked when one is released.

Invariant: a claim names its holder, so a claim that a finished job still holds can be recognised and
released.
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
    """Return the name of the lock on a copy: only one job at a time copies a point into a vault."""
    return f"copy of {point} into {vault}"


def lock_of_identity(plan: str, service: str) -> str:
    """Return the name of the lock on the identity of a plan's service: one job at a time moves it."""
    return f"identity of {service}, plan {plan}"


def locking(name: str, job_id: str, now: datetime) -> Write:
    """Return the write that acquires a lock; acquiring one's own again succeeds."""
    free_or_own = Attr("pk").not_exists() | Attr("job").eq(job_id)
    put = {"format": 1, "job": job_id, "purpose": name, "since": stamp(now)}
    return Write(_lock_key(name), Role.CLAIM, put=put, condition=free_or_own)


def unlocking(name: str, job_id: str) -> Write:
    """Return the write that releases a lock, unless another job holds it by now."""
    return Write(_lock_key(name), Role.RELEASE, deletes=True, condition=Attr("job").eq(job_id))


def acquiring(region: str, slot: str, purpose: str, job_id: str, now: datetime) -> Write:
    """Return the write that acquires a free slot."""
    put = {"format": 1, "job": job_id, "purpose": purpose, "since": stamp(now)}
    return Write((_slots(region), slot), Role.CLAIM, put=put, condition=Attr("pk").not_exists())


def releasing(region: str, slot: str, job_id: str) -> Write:
    """Return the write that releases a slot."""
    return Write((_slots(region), slot), Role.RELEASE, deletes=True, condition=Attr("job").eq(job_id))


def lock_named_by(write: Write) -> str | None:
    """Return the name of the lock that a write acquires or releases, None for any other write."""
    pk = write.key[0]
    return pk.removeprefix(_LOCK) if pk.startswith(_LOCK) else None


class Claims:
    """Reads claims, chooses free slots, and queues the jobs that wait for one; `limit` is per region."""

    def __init__(self, table: Table, limit: int) -> None:
        self._table = table
        self._limit = limit

    def lock_holder(self, name: str) -> str | None:
        """Return the job that holds a lock, or None."""
        item = self._table.get(*_lock_key(name))
        return str(item["job"]) if item else None

    def free_slot(self, region: str) -> str | None:
        """Return the name of a slot that is free now, or None."""
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
        """Release a claim of a job that is over."""
        self._table.commit([Write(claim.key, deletes=True, condition=Attr("job").eq(claim.job))])

    def heal_lock(self, name: str, holder: str) -> None:
        """Release a lock of a job that is over."""
        self._table.commit([unlocking(name, holder)])

    def enqueue(self, region: str, job_id: str, since: datetime) -> None:
        """Enqueue a job for a slot; enqueueing it again changes nothing."""
        self._table.put({"pk": _slots(region), "sk": f"{_WAITING}{stamp(since)}#{job_id}", "job": job_id})

    def next_waiting(self, region: str, number: int) -> tuple[str, ...]:
        """Return the jobs that have waited longest, and remove them from the queue.

        The caller pokes them; if a poke is lost, the job tries by itself later and is enqueued again.
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
