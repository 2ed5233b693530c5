"""Jobs in the table: opened once, leased by one worker at a time, saved only by the holder of the lease.

An unfinished job has a `wake_at`: the time by which it should have moved by itself. Poking every job whose
time has passed needs no other knowledge. A child of a job also has a small record in its parent's partition,
with its state.

Invariant: a save is conditional on the lease's token and on the version that the decision was based on.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.catalog.store import wake
from chalicelib.catalog.store.items import Item, moment, stamp
from chalicelib.catalog.store.table import Lookup, Page, Refused, Table
from chalicelib.catalog.store.writes import Attr, Role, Write
from chalicelib.errors import LeaseHeld, NotFound
from chalicelib.jobs.codec import from_text, to_text
from chalicelib.jobs.decision import Children
from chalicelib.jobs.job import AnyJob, Failure, Intent, Job, JobId, JobKind, JobState, Permit

# A finished job is kept this long; then DynamoDB's TTL removes it.
REMEMBERED = timedelta(days=90)
FORMAT = 1
_LEASE = ("lease_token", "lease_until", "abandoned_leases")


@dataclass(frozen=True, slots=True)
class JobTypes:
    """The types of a kind of job: its work and its progress."""

    work: type[Any]
    progress: type[Any]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to advance `job` until `until`; `token` is in the table while this worker has it.

    `abandoned` counts the leases before this one whose worker did not return them.
    """

    job: AnyJob
    token: str
    until: datetime
    abandoned: int


class JobStore:
    """Leases, reads and lists jobs, and returns the writes that open and save them."""

    def __init__(self, table: Table, shapes: Mapping[tuple[JobKind, str], JobTypes]) -> None:
        self._table = table
        self._shapes = shapes

    def opening(self, job: AnyJob, wake_at: datetime) -> list[Write]:
        """Return the writes that store a new job; an existing one stays as it is."""
        put = {**_header(job), "work": to_text(job.work), **_moving(job)}
        put |= _forgotten(job.created_at) if job.state.final else wake.waking(wake_at)
        opened = Write(_key(job.id), Role.OPEN, put=put, condition=Attr("pk").not_exists())
        if job.parent is None:
            return [opened]
        child = Write(
            (f"job#{job.parent}", f"child#{job.id}"), put={"format": FORMAT, "child": job.id, "state": "OPEN"}
        )
        return [opened, child]

    def get(self, job_id: str) -> AnyJob | None:
        """Return the job, or None."""
        item = self._table.get(*_key(job_id))
        return self._job(item) if item else None

    def require(self, job_id: str) -> AnyJob:
        """Return the job.

        Raises:
            NotFound: there is none.
        """
        job = self.get(job_id)
        if job is None:
            raise NotFound("no such job", resource=f"job {job_id}")
        return job

    def get_many(self, job_ids: Iterable[str]) -> dict[str, AnyJob]:
        """Return the jobs with these ids; unknown ids are left out."""
        found = self._table.get_all({_key(job_id) for job_id in job_ids})
        return {item["id"]: self._job(item) for item in found.values()}

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        """Return the states of these jobs; unknown ids are left out."""
        return {job_id: state for job_id, (state, _) in self.ends(job_ids).items()}

    def ends(self, job_ids: Iterable[str]) -> dict[str, tuple[JobState, datetime]]:
        """Return the state and nominal time of these jobs; unknown ids are left out."""
        found = self._table.get_all({_key(job_id) for job_id in job_ids})
        return {item["id"]: (JobState(item["state"]), moment(item["nominal_at"])) for item in found.values()}

    def children(self, job_id: str) -> Children:
        """Return the states of the job's children."""
        items = list(self._table.partition(f"job#{job_id}", prefix="child#"))
        return Children(
            states={item["child"]: item["state"] for item in items},
            reasons={item["child"]: item["reason"] for item in items if "reason" in item},
        )

    def lease(self, job_id: str, *, now: datetime, until: datetime) -> Lease | None:
        """Take the lease of an unfinished job; return None when it is over or unknown.

        Raises:
            LeaseHeld: another worker holds the lease.
        """
        token = uuid.uuid4().hex
        answer = self._table.update(
            *_key(job_id),
            "SET lease_token = :token, lease_until = :until, wake_at = :until ADD abandoned_leases :one",
            values={":token": token, ":until": stamp(until), ":now": stamp(now), ":one": 1},
            condition="attribute_exists(wake) AND (attribute_not_exists(lease_until) OR lease_until < :now)",
        )
        if not isinstance(answer, Refused):
            return Lease(self._job(answer), token, until, int(answer["abandoned_leases"]) - 1)
        if answer.item is None or "wake" not in answer.item:
            return None
        raise LeaseHeld(job_id, moment(answer.item["lease_until"]) - now)

    def reread(self, lease: Lease) -> AnyJob | None:
        """Return the stored job, if this worker still has the lease."""
        item = self._table.get(*_key(lease.job.id))
        return self._job(item) if item and item.get("lease_token") == lease.token else None

    def saving(self, lease: Lease, job: AnyJob) -> Write:
        """Return the write that stores the job's new state and keeps the lease."""
        return self._fenced(lease, job, sets=wake.waking(lease.until))

    def parking(self, lease: Lease, job: AnyJob, wake_at: datetime) -> Write:
        """Return the write that stores the job, due at `wake_at`, and returns the lease."""
        return self._fenced(lease, job, sets=wake.waking(wake_at), drops=_LEASE)

    def finishing(self, lease: Lease, job: AnyJob, now: datetime) -> list[Write]:
        """Return the writes that store a finished job, its parent's record, and its expiry."""
        writes = [self._fenced(lease, job, sets=_forgotten(now), drops=(*_LEASE, "wake", "wake_at"))]
        if job.parent is not None:
            told = {"state": str(job.state), "reason": job.reason[:1000]}
            writes.append(Write((f"job#{job.parent}", f"child#{job.id}"), sets=told))
        return writes

    def cancel(self, job_id: str, reason: str) -> bool:
        """Record that an operator cancels the job; return whether it was unfinished."""
        wanted = Write(
            _key(job_id),
            sets={"cancel": reason},
            condition=Attr("wake").exists(),
        )
        return not self._table.commit([wanted])

    def list(self, *, filters: dict[str, str], limit: int, cursor: str | None) -> Page[AnyJob]:
        """Return a page of jobs, newest first; `filters` among service, plan, rule, kind, state."""
        page = self._table.page(_lookup(filters), limit=limit, cursor=cursor)
        keys = [(item["pk"], item["sk"]) for item in page.items]
        found = self._table.get_all(keys)
        return Page(tuple(self._job(found[key]) for key in keys if key in found), page.cursor)

    def _fenced(self, lease: Lease, job: AnyJob, *, sets: Item, drops: tuple[str, ...] = ()) -> Write:
        changes = {**_moving(job), "version": job.version + 1, **sets}
        return Write(
            _key(job.id),
            Role.FENCE,
            sets={name: value for name, value in changes.items() if value is not None},
            drops=(*drops, *(name for name, value in changes.items() if value is None)),
            condition=Attr("lease_token").eq(lease.token) & Attr("version").eq(job.version),
        )

    def _job(self, item: Item) -> AnyJob:
        kind, method = JobKind(item["kind"]), item["method"]
        shapes = self._shapes[kind, method]
        return Job(
            id=JobId(item["id"]),
            kind=kind,
            method=method,
            state=JobState(item["state"]),
            service=item["service"],
            plan=item["plan"],
            rule=item["rule"],
            nominal_at=moment(item["nominal_at"]),
            created_at=moment(item["created_at"]),
            updated_at=moment(item["updated_at"]),
            deadline=moment(item["deadline"]),
            reason=item["reason"],
            secret=item["secret"],
            work=from_text(shapes.work, item["work"]),
            progress=from_text(shapes.progress, item["progress"]),
            parent=JobId(item["parent"]) if "parent" in item else None,
            pins=tuple((point, vault) for point, vault in item.get("pins", ())),
            children=int(item.get("children", 0)),
            locks=tuple(item.get("locks", ())),
            slots=tuple((region, purpose, slot) for region, purpose, slot in item.get("slots", ())),
            intent=from_text(Intent, item["intent"]) if "intent" in item else None,
            permit=from_text(Permit, item["permit"]) if "permit" in item else None,
            failure=from_text(Failure, item["failure"]) if "failure" in item else None,
            cancel=item.get("cancel"),
            left=tuple(item.get("left", ())),
            begun=bool(item.get("begun", False)),
            superseded=int(item.get("superseded", 0)),
            mends=bool(item.get("mends")),
            attempts=int(item["attempts"]),
            version=int(item["version"]),
            poked_at=moment(item["poked_at"]) if "poked_at" in item else None,
        )


def _key(job_id: str) -> tuple[str, str]:
    return f"job#{job_id}", "job"


def _forgotten(now: datetime) -> Item:
    return {"expires_at": int((now + REMEMBERED).timestamp())}


def _lookup(filters: dict[str, str]) -> Lookup:
    service = filters.get("service")
    equal = {name: value for name, value in filters.items() if name != "service"}
    if service is not None:
        return Lookup("by_service", f"job#{service}", equal, {})
    return Lookup("by_type", "job", equal, {})


def _header(job: AnyJob) -> Item:
    """Return the attributes of a job that never change."""
    return {
        "format": FORMAT,
        "type": "job",
        "service_type": f"job#{job.service}",
        "sorted_at": f"{stamp(job.created_at)}#{job.id}",
        "id": job.id,
        "kind": str(job.kind),
        "method": job.method,
        "service": job.service,
        "plan": job.plan,
        "rule": job.rule,
        "nominal_at": stamp(job.nominal_at),
        "created_at": stamp(job.created_at),
        "deadline": stamp(job.deadline),
        "secret": job.secret,
        "parent": job.parent,
        "pins": [list(pin) for pin in job.pins] or None,
        "version": job.version,
    }


def _moving(job: AnyJob) -> Item:
    """Return the attributes of a job that change as it is advanced; None stands for nothing."""
    return {
        "state": str(job.state),
        "updated_at": stamp(job.updated_at),
        "reason": job.reason,
        "progress": to_text(job.progress),
        "intent": to_text(job.intent) if job.intent else None,
        "permit": to_text(job.permit) if job.permit else None,
        "failure": to_text(job.failure) if job.failure else None,
        "left": list(job.left) or None,
        "begun": job.begun or None,
        "superseded": job.superseded or None,
        "mends": job.mends or None,
        "children": job.children or None,
        "locks": list(job.locks) or None,
        "slots": [list(slot) for slot in job.slots] or None,
        "attempts": job.attempts,
        "poked_at": stamp(job.poked_at) if job.poked_at else None,
    }
