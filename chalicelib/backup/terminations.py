"""Backs up what an instance holds before it goes: opens the last backups, waits for them, tells its group.

The backups are jobs of their own, in their turn like any other of their lineage. Invariant: an instance is
kept no longer than the plan's `timeout` and its group's hook allow, whatever becomes of the backups.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import AutoScaling
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Job, JobState
from chalicelib.jobs.lifecycle_wait import CONTINUE, HookRef, HookSeen, HookWatch, ends_by, heartbeat_due
from chalicelib.jobs.store import JobStore
from chalicelib.jobs.work import TerminationWork

# No event says that a backup has ended: the job looks this often.
BACKUP_LOOK = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class TerminationProgress:
    """How far it is: the backups opened, how they ended, the last heartbeat, what the group was told."""

    backups: tuple[str, ...] | None = None
    outcome: str = ""
    failed: bool = False
    heartbeat_at: datetime | None = None
    told: str = ""


TerminationJob = Job[TerminationWork, TerminationProgress]


@dataclass(frozen=True, slots=True)
class TerminationSeen:
    """The group's wait, and the backups by id: the state and reason of each."""

    hook: HookSeen = field(default_factory=HookSeen)
    backups: Mapping[str, tuple[JobState, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenBackups:
    """Open the last backups."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Let the group wait on."""


@dataclass(frozen=True, slots=True)
class Note:
    """Record how the backups ended."""

    outcome: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the group to go on."""


Action = OpenBackups | Heartbeat | Note | Tell


@dataclass(frozen=True, slots=True)
class Termination:
    """Serves instances that go. `open_backups` opens the last backups of a job, and gives their ids: the same
    ones whenever it is asked again."""

    autoscaling: AutoScaling
    jobs: Callable[[], JobStore]
    open_backups: Callable[[TerminationJob], tuple[str, ...]]
    now: Callable[[], datetime]
    work = TerminationWork
    progress = TerminationProgress
    deadline = timedelta(hours=48)

    def observe(self, job: TerminationJob, children: Children) -> TerminationSeen:
        """Look at the group's wait and at the backups, which are made though the wait is not shown."""
        hook = HookSeen()
        if job.work.hook is not None and not job.progress.told:
            watch = HookWatch(self.autoscaling, self.jobs, is_done=lambda other: bool(other.progress.outcome))
            hook = watch.observe(job, tolerant=True)
        if job.progress.outcome or job.failure is not None:
            return TerminationSeen(hook)
        found = ((id, self.jobs().get(id)) for id in job.progress.backups or ())
        return TerminationSeen(hook, {id: (each.state, each.reason) for id, each in found if each})

    def decide(self, job: TerminationJob, seen: TerminationSeen, now: datetime) -> Decision[Action]:
        """Open the backups, wait for them within the time there is, tell the group."""
        progress, ref = job.progress, job.work.hook
        if progress.outcome:
            return _decide_end(job, seen, now)
        if not job.work.rules:
            return Do(
                Note(f"nothing was backed up: {job.work.why}", failed=False), "there is nothing to back up"
            )
        if progress.backups is None:
            return Do(OpenBackups(), f"backing up {job.work.instance_id} before it goes: {job.work.why}")
        waits = {id: state for id, (state, _) in seen.backups.items() if not state.final}
        if not waits:
            return Do(_ended(job, seen), "the last backups are over")
        ends = ends_by(ref, seen.hook.hook, job.created_at + job.work.on_terminate.timeout)
        due = heartbeat_due(ref, seen.hook.hook, progress.heartbeat_at)
        if now >= ends:
            late = f"{', '.join(waits)} not over by {ends:%H:%M:%S} UTC"
            kept = f"{late}, and {job.work.instance_id} is kept no longer"
            return Do(Note(kept, failed=True), "the time is up")
        if due is not None and now >= due and ref is not None and seen.hook.waits_at(ref):
            return Do(Heartbeat(), f"telling group {ref.group} that work goes on")
        until = min(now + BACKUP_LOOK, ends, due or ends)
        return Wait(
            until, f"waiting for {', '.join(waits)} of {job.work.instance_id}, which goes: {job.work.why}"
        )

    def clean_up(self, job: TerminationJob, seen: TerminationSeen, now: datetime) -> Cleaning[Action]:
        """Tell the group to go on; the backups end by themselves."""
        reason, ref = (job.failure.reason if job.failure else job.reason), job.work.hook
        if ref is None or job.progress.told or not seen.hook.waits_at(ref):
            return Finish(reason)
        return _telling(job, ref, seen.hook, reason, now)

    def act(self, job: TerminationJob, action: Action, turn: Turn) -> Step[TerminationProgress]:
        """Carry out one action."""
        progress, ref = job.progress, job.work.hook
        match action:
            case OpenBackups():
                return Step(replace(progress, backups=self.open_backups(job)))
            case Note(outcome=outcome, failed=failed):
                return Step(replace(progress, outcome=outcome, failed=failed))
            case Heartbeat() if ref is not None:
                self.autoscaling.record_heartbeat(ref.group, ref.name, job.work.instance_id)
                return Step(replace(progress, heartbeat_at=self.now()))
            case Tell() if ref is not None:
                self.autoscaling.complete(ref.group, ref.name, job.work.instance_id, CONTINUE)
                return Step(replace(progress, told=CONTINUE))
            case _:
                raise ValueError(f"{job.id} has no hook for {action}")

    def abandon(self, job: TerminationJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: TerminationJob) -> tuple[str, ...]:
        """Return nothing: what was made is the backups'."""
        return ()


def _decide_end(job: TerminationJob, seen: TerminationSeen, now: datetime) -> Decision[Action]:
    """Tell the group, then end as the backups did."""
    progress, ref = job.progress, job.work.hook
    if ref is not None and not progress.told and seen.hook.waits_at(ref):
        return _telling(job, ref, seen.hook, progress.outcome, now)
    return Fail(progress.outcome) if progress.failed else Finish(progress.outcome)


def _telling(
    job: TerminationJob, ref: HookRef, seen: HookSeen, reason: str, now: datetime
) -> Do[Action] | Wait:
    """Tell the group to go on, once no other plan works on the instance."""
    if not seen.beside:
        return Do(Tell(), f"{reason}; telling group {ref.group} {CONTINUE}")
    return Wait(now + BACKUP_LOOK, f"{reason}; waiting for {seen.beside}, which backs it up, too")


def _ended(job: TerminationJob, seen: TerminationSeen) -> Note:
    failed = {id: reason for id, (state, reason) in seen.backups.items() if state is not JobState.COMPLETED}
    backups = job.progress.backups or ()
    lost = [id for id in backups if id not in seen.backups]
    if failed or lost:
        said = [*(f"{id}: {reason}" for id, reason in failed.items()), *(f"{id} is gone" for id in lost)]
        return Note("; ".join(said), failed=True)
    if not backups:
        return Note(
            f"plan {job.plan} covers {job.work.instance_id} no more: it was not backed up", failed=True
        )
    return Note(f"{job.work.instance_id} was backed up by {', '.join(backups)}", failed=False)
