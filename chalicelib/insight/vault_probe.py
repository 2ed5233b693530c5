"""The job that probes a vault: it writes a small object, reads it back and deletes it, as backups do.

It runs where backups run, with their role: what it can do there, they can do. The object lies where other
short-lived objects of jobs lie, so that a bucket's rules and the inventory remove one that was left.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.catalog.store.writes import Write
from chalicelib.errors import IntegrityFailure, Permanent
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Finish, Step
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Job
from chalicelib.jobs.work import ProbeWork
from chalicelib.vaults.layout import probe_key
from chalicelib.vaults.vault import Vault


@dataclass(frozen=True, slots=True)
class ProbeProgress:
    """When the object was written, whether it was the same when it was read back, and whether it is gone."""

    began_at: datetime | None = None
    same_at: datetime | None = None
    gone_at: datetime | None = None
    refused: bool = False


ProbeJob = Job[ProbeWork, ProbeProgress]


@dataclass(frozen=True, slots=True)
class WriteObject:
    """Write the object."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Read the object back."""


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the object; a failed probe tries once."""

    once: bool = False


Action = WriteObject | ReadBack | Remove


@dataclass(frozen=True, slots=True)
class VaultProbe:
    """Probes vaults. `vault` returns one by its name."""

    vault: Callable[[str], Vault]
    now: Callable[[], datetime]
    work = ProbeWork
    progress = ProbeProgress
    deadline = timedelta(minutes=10)

    def observe(self, job: ProbeJob, children: Children) -> None:
        """Return nothing: a probe depends on nothing but how far it is."""

    def decide(self, job: ProbeJob, seen: None, now: datetime) -> Decision[Action]:
        """Write, read back, delete."""
        progress, vault = job.progress, job.work.vault
        if progress.began_at is None:
            return Do(WriteObject(), f"writing a small object to vault {vault}")
        if progress.same_at is None:
            return Do(ReadBack(), f"reading the object back from vault {vault}")
        if progress.gone_at is None:
            return Do(Remove(), f"deleting the object from vault {vault}")
        took = (progress.gone_at - progress.began_at).total_seconds()
        return Finish(f"{len(_content(job))} bytes were written, read back and deleted in {took:.2f} s")

    def clean_up(self, job: ProbeJob, seen: None, now: datetime) -> Cleaning[Action]:
        """Try once to delete the object: a worker that died may have written it and not said so."""
        progress = job.progress
        if progress.gone_at is None and not progress.refused:
            return Do(Remove(once=True), f"deleting the object from vault {job.work.vault}")
        return Finish(job.failure.reason if job.failure else job.reason)

    def act(self, job: ProbeJob, action: Action, turn: Turn) -> Step[ProbeProgress]:
        """Carry out the action."""
        vault, key, began_at = self.vault(job.work.vault), probe_key(job.id), self.now()
        match action:
            case WriteObject():
                vault.put(key, _content(job))
                return Step(replace(job.progress, began_at=began_at))
            case ReadBack():
                if vault.get(key) != _content(job):
                    why = "other bytes came back than were written"
                    raise IntegrityFailure(why, operation="GET", resource=f"{vault.name}:{key}")
                return Step(replace(job.progress, same_at=self.now()))
            case Remove(once=once):
                try:
                    vault.delete(key)
                except Permanent:
                    if not once:
                        raise
                    return Step(replace(job.progress, refused=True))
                return Step(replace(job.progress, gone_at=self.now()))

    def abandon(self, job: ProbeJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing: a probe is of no point."""
        return ()

    def leftovers(self, job: ProbeJob) -> tuple[str, ...]:
        """Return the object, if it was written and not deleted."""
        there = job.progress.began_at is not None and job.progress.gone_at is None
        return (f"object {probe_key(job.id)}",) if there else ()


def _content(job: ProbeJob) -> bytes:
    return f"{job.id}\n".encode()
