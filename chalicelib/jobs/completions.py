"""Finds the jobs that wait for what an AWS event says has ended, and pokes them.

A job is found by the mark or tag on its artefact, or by its lock on the instance. An event about anything
else pokes nothing, and a poke because of a forged event does no harm. Jobs that delete wait for no event. An
event that was sent to see whether it arrives is recorded, and pokes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.events import Subject
from chalicelib.aws.queue import PokeQueue
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.recovery_point import TAG_JOB
from chalicelib.catalog.store.examinations import ExaminationStore
from chalicelib.jobs.claims import Claims, lock_of_instance
from chalicelib.jobs.job import job_of_mark
from chalicelib.jobs.queues import JobQueue, queue_of
from chalicelib.observability import count, logger


@dataclass(frozen=True, slots=True)
class Completions:
    """Pokes the jobs of events. `ec2` returns the EC2 of a region."""

    queue: PokeQueue
    claims: Claims
    ssm: Ssm
    ec2: Callable[[str], Ec2]
    examinations: ExaminationStore
    now: Callable[[], datetime]

    def poke(self, found: Mapping[str, Iterable[Subject]]) -> set[str]:
        """Poke the jobs that the messages are about; one look-up for each kind of subject and region.

        Returns: the messages whose look-up failed, to be delivered again; the others are done.
        """
        messages: dict[tuple[str, str], dict[str, set[str]]] = {}
        for message, subjects in found.items():
            for each in subjects:
                messages.setdefault((each.kind, each.region), {}).setdefault(each.id, set()).add(message)
        log, failed = logger(), set[str]()
        for (kind, region), by_id in messages.items():
            try:
                self.queue.poke_all(sorted(set(self._jobs_of(kind, region, sorted(by_id)))))
            except Exception:  # a region or call that fails must not lose the events of others
                log.exception("events not looked up", extra={"about": kind, "region": region})
                count("EventsNotLookedUp", about=kind, region=region)
                failed |= {message for those in by_id.values() for message in those}
        return failed

    def _jobs_of(self, kind: str, region: str, ids: Sequence[str]) -> Iterable[str]:
        jobs: Iterable[str | None]
        match kind:
            case "snapshot":
                ec2 = self.ec2(region)
                ended = (each for each in ec2.snapshots_by_id(ids) if not ec2.is_foreign(each.tags))
                jobs = (job_of_mark(each.description) for each in ended)
            case "volume":
                ec2 = self.ec2(region)
                ready = (each for each in ec2.volumes(ids) if not ec2.is_foreign(each.tags))
                jobs = (each.tags.get(TAG_JOB) for each in ready)
            case "command":
                jobs = (job_of_mark(self.ssm.comment_of(command)) for command in ids)
            case "instance":
                jobs = (self.claims.lock_holder(lock_of_instance(each)) for each in ids)
            case "round trip":
                jobs = self._arrived(region, ids)
            case _:
                raise ValueError(f"no job waits for a {kind}")
        return (job for job in jobs if job and queue_of(job) is JobQueue.JOBS)

    def _arrived(self, region: str, tokens: Iterable[str]) -> Iterable[str]:
        """Record that events of our own have arrived, of which no job waits for one."""
        for token in tokens:
            self.examinations.note_arrival(region, token, self.now())
        return ()
