"""Jobs in the table: opened once, leased by one worker at a time, saved only by the one that holds the lease.

A job that is not over has a `wake_at`: the moment at which it should have moved by itself. `reconcile` pokes
every job whose moment has passed, and needs no other knowledge.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.catalog.job import Job, JobId, JobKind, JobState
from chalicelib.catalog.store.table import Item, Lookup, Page, Refused, Table, moment, stamp
from chalicelib.catalog.store.wake import waking
from chalicelib.errors import LeaseHeld

# A finished job is remembered this long; then DynamoDB's TTL removes it.
REMEMBERED = timedelta(days=90)

# An opened job whose first message was lost is poked after this.
FIRST_POKE_WITHIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance `job` until `until`; `token` is in the table as long as it is ours.

    `in_vain` counts the leases taken before this one that ended without a word from their worker.
    """

    job: Job
    token: str
    until: datetime
    in_vain: int


class JobStore:
    """Opens, leases, saves and lists jobs."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def open(self, job: Job) -> bool:
        """Store a new job; say whether it is new. A job that exists already is left as it is."""
        return self._table.create({**_item(job), **waking(job.created_at + FIRST_POKE_WITHIN)})

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None."""
        item = self._table.get(f"job#{job_id}", "job")
        return _job(item) if item else None

    def lease(self, job_id: str, *, now: datetime, until: datetime) -> Lease | None:
        """Take the lease of a job that is not over; None when it is over or unknown.

        Raises:
            LeaseHeld: another worker holds the lease.
        """
        token = uuid.uuid4().hex
        answer = self._table.update(
            f"job#{job_id}",
            "job",
            "SET lease_token = :token, lease_until = :until, wake_at = :until ADD in_vain :one",
            values={":token": token, ":until": stamp(until), ":now": stamp(now), ":one": 1},
            condition="attribute_exists(wake) AND (attribute_not_exists(lease_until) OR lease_until < :now)",
        )
        if not isinstance(answer, Refused):
            return Lease(_job(answer), token, until, int(answer["in_vain"]) - 1)
        if answer.item is None or "wake" not in answer.item:
            return None
        raise LeaseHeld(job_id, moment(answer.item["lease_until"]) - now)

    def save(self, lease: Lease, job: Job) -> Lease:
        """Store the job's new state under the lease and keep the lease, which may yet end in vain.

        Raises:
            LeaseHeld: the lease was lost; nothing was stored.
        """
        held = {"lease_token": lease.token, "lease_until": stamp(lease.until), "in_vain": lease.in_vain + 1}
        self._write(lease, {**_item(job), **waking(lease.until), **held})
        return replace(lease, job=job)

    def park(self, lease: Lease, job: Job, wake_at: datetime) -> None:
        """Store the job, to be looked at again at `wake_at`, and give the lease back."""
        self._write(lease, {**_item(job), **waking(wake_at)})

    def finish(self, lease: Lease, job: Job, now: datetime) -> None:
        """Store the finished job, give the lease back and let the job be forgotten in time."""
        self._write(lease, {**_item(job), "expires_at": int((now + REMEMBERED).timestamp())})

    def list(self, *, filters: dict[str, str], limit: int, cursor: str | None) -> Page[Job]:
        """Return a page of jobs, newest first; `filters` among service, plan, rule, kind, state."""
        page = self._table.page(_lookup(filters), limit=limit, cursor=cursor)
        return Page(tuple(_job(item) for item in page.items), page.cursor)

    def unfinished(self, service: str) -> Iterator[Job]:
        """Yield the service's jobs that are not over."""
        for state in (JobState.QUEUED, JobState.RUNNING):
            lookup = _lookup({"service": service, "state": state})
            yield from (_job(item) for item in self._table.every(lookup))

    def _write(self, lease: Lease, item: Item) -> None:
        if not self._table.replace(item, "lease_token", lease.token):
            raise LeaseHeld(lease.job.id, timedelta(seconds=30))


def _lookup(filters: dict[str, str]) -> Lookup:
    service = filters.get("service")
    equal = {name: value for name, value in filters.items() if name != "service"}
    if service is not None:
        return Lookup("by_service", f"job#{service}", equal, {})
    return Lookup("by_type", "job", equal, {})


def _item(job: Job) -> Item:
    return {
        "pk": f"job#{job.id}",
        "sk": "job",
        "type": "job",
        "service_type": f"job#{job.service}",
        "sorted_at": f"{stamp(job.created_at)}#{job.id}",
        "id": job.id,
        "kind": str(job.kind),
        "method": job.method,
        "state": str(job.state),
        "service": job.service,
        "plan": job.plan,
        "rule": job.rule,
        "nominal_at": stamp(job.nominal_at),
        "created_at": stamp(job.created_at),
        "updated_at": stamp(job.updated_at),
        "reason": job.reason,
        "work": json.dumps(job.work),
        "progress": json.dumps(job.progress),
        "intents": json.dumps({name: stamp(at) for name, at in job.intents.items()}),
        "attempts": job.attempts,
    }


def _job(item: Item) -> Job:
    return Job(
        id=JobId(item["id"]),
        kind=JobKind(item["kind"]),
        method=item["method"],
        state=JobState(item["state"]),
        service=item["service"],
        plan=item["plan"],
        rule=item["rule"],
        nominal_at=moment(item["nominal_at"]),
        created_at=moment(item["created_at"]),
        updated_at=moment(item["updated_at"]),
        reason=item["reason"],
        work=json.loads(item["work"]),
        progress=json.loads(item["progress"]),
        intents={name: moment(at) for name, at in json.loads(item["intents"]).items()},
        attempts=int(item["attempts"]),
    )
