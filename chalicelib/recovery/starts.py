"""Starts instances for a service from its backups: launches them from a launch template where EC2 has room,
has each one launched like one that starts by itself, waits for all, and says how long they took.

Invariants: a call that launches carries a client token of its own, so it launches once however often it is
made; only recorded instances are ever terminated, that still carry the job's tag, and only if that was asked
for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.ec2 import Ec2, Instance
from chalicelib.aws.ec2_launch import Ec2Launch
from chalicelib.catalog.recovery_point import TAG_DEPLOYMENT, TAG_JOB, TAG_PLAN, TAG_SERVICE
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, LimitReached, NoRoom
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Step, Wait, look_again
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import Budget, may_have_been_made
from chalicelib.jobs.removal import remove
from chalicelib.jobs.store import JobStore
from chalicelib.jobs.work import StartWork, launch_id
from chalicelib.recovery.start_progress import (
    Call,
    StartJob,
    StartProgress,
    StartSeen,
    adopting,
    failures,
    next_call,
    no_room,
    outcome,
    started_in_words,
    token_of,
    unsuccessful,
)

# No event says that a job is over that is no child of this one.
LOOK = timedelta(seconds=20)
TERMINATED_AT_ONCE = 20
RAISE_QUOTA = (
    "ask for a higher quota in Service Quotas (Amazon EC2, Running On-Demand instances), name a smaller "
    "`instance_type`, or terminate what is not needed"
)


@dataclass(frozen=True, slots=True)
class Run:
    """Launch instances."""

    call: Call


@dataclass(frozen=True, slots=True)
class Open:
    """Open the launches of the instances that were made."""


@dataclass(frozen=True, slots=True)
class Note:
    """Record what was seen or decided."""

    progress: StartProgress


@dataclass(frozen=True, slots=True)
class EndLaunches:
    """Cancel the launches that are under way."""

    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terminate:
    """Terminate instances."""

    ids: tuple[str, ...]


Action = Run | Open | Note | EndLaunches | Terminate


@dataclass(frozen=True, slots=True)
class StartWorld:
    """What starts look at and call: `open` opens the launches of a job's instances, `cancel` ends a job."""

    ec2: Ec2
    launching: Ec2Launch
    jobs: Callable[[], JobStore]
    open: Callable[[StartJob], None]
    cancel: Callable[[str, str], object]
    deployment: str
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Start:
    """Starts instances of a service."""

    world: StartWorld
    work = StartWork
    progress = StartProgress
    deadline = timedelta(hours=48)

    def observe(self, job: StartJob, children: Children) -> StartSeen:
        """Look only at what the job's next step depends on."""
        if job.failure is not None and job.intent is not None:
            ours = {TAG_JOB: job.id, TAG_DEPLOYMENT: self.world.deployment}
            found = self.world.ec2.instances((f"tag:{key}", [value]) for key, value in ours.items())
            token = token_of(job)
            return StartSeen(unheard=tuple(each for each in found if each.client_token == token))
        if job.failure is None and _has_to_go_on(job):
            return StartSeen()
        ids = {each: launch_id(self.world.deployment, job.plan, each) for each in job.progress.made}
        jobs = self.world.jobs().get_many(ids.values())
        return StartSeen({each: jobs[id] for each, id in ids.items() if id in jobs})

    def decide(self, job: StartJob, seen: StartSeen, now: datetime) -> Decision[Action]:
        """Launch instances where there is room, have each launched for the service, wait for all."""
        progress, call = job.progress, next_call(job)
        if progress.opened < len(progress.made):
            return Do(Open(), f"{started_in_words(job)}; opening their launches")
        if call is not None:
            place, kind = job.work.places[call.number], job.work.template.instance_type
            return Do(
                Run(call),
                f"{started_in_words(job)}; launching {call.most} {kind} in {place}",
                intent=f"RunInstances {progress.calls}",
                budget=Budget("RunInstances", self.world.launching.region, call.most),
            )
        if busy := seen.under_way():
            return Wait(now + LOOK, f"{started_in_words(job)}; {len(busy)} launches are under way")
        is_short = len(progress.made) < job.work.count
        short = (progress.refusal or no_room(job)) if is_short else ""
        said = [outcome(job, seen), short, failures(job, seen)]
        text = "; ".join(filter(None, said))
        return Fail(text) if short or failures(job, seen) else Finish(text)

    def clean_up(self, job: StartJob, seen: StartSeen, now: datetime) -> Cleaning[Action]:
        """End the launches; terminate the instances of those that have not ended well, if that is wanted."""
        reason, progress = (job.failure.reason if job.failure else job.reason), job.progress
        if job.intent is not None:
            if seen.unheard or not may_have_been_made(job, now):
                made = adopting(progress, seen.unheard)
                return Do(Note(replace(progress, made=made)), f"{reason}; noting what was launched")
            return look_again(job, f"{reason}; RunInstances")
        if busy := seen.under_way():
            if not progress.ended:
                jobs = tuple(seen.launches[id].id for id in busy)
                return Do(EndLaunches(jobs), f"{reason}; ending {len(busy)} launches")
            return Wait(now + LOOK, f"{reason}; waiting for {len(busy)} launches to end")
        bad = unsuccessful(job, seen)
        if not bad:
            return Finish(reason)
        unsaid = [id for id in bad if id not in reason]
        named = f"{reason}; not launched: {', '.join(unsaid)}" if unsaid else reason
        if not job.work.terminates:
            return Finish(f"{named}; they are kept")
        return self._terminating(job, bad, named, now)

    def _terminating(
        self, job: StartJob, bad: tuple[str, ...], reason: str, now: datetime
    ) -> Cleaning[Action]:
        progress = job.progress
        if not progress.doomed:
            return Do(Note(replace(progress, doomed=bad)), f"{reason}; terminating {len(bad)}")
        match progress.removal.due(progress.doomed, now):
            case Wait(until=until, reason=why):
                return Wait(until, f"{reason}; {why}")
            case ():
                return Finish(f"{reason}; they are terminated")
            case due:
                ids = due[:TERMINATED_AT_ONCE]
                budget = Budget("TerminateInstances", self.world.launching.region, len(ids))
                return Do(Terminate(ids), f"{reason}; terminating {len(due)}", budget=budget)

    def act(self, job: StartJob, action: Action, turn: Turn) -> Step[StartProgress]:
        """Carry out one action."""
        progress = job.progress
        match action:
            case Run(call=call):
                return Step(self._run(job, call))
            case Open():
                self.world.open(job)
                return Step(replace(progress, opened=len(progress.made)))
            case Note(progress=noted):
                return Step(noted)
            case EndLaunches(jobs=jobs):
                for each in jobs:
                    self.world.cancel(each, f"{job.id} ends")
                return Step(replace(progress, ended=True))
            case Terminate(ids=ids):
                there = {each.id: each for each in self.world.ec2.instances_by_id(ids)}
                removal = remove(
                    progress.removal, ids, lambda id: self._terminate(job, there.get(id)), self.world.now()
                )
                return Step(replace(progress, removal=removal))

    def _run(self, job: StartJob, call: Call) -> StartProgress:
        """Launch, and return what came of it: instances, a place that is full, or a limit of the account."""
        work, progress = job.work, replace(job.progress, calls=job.progress.calls + 1)
        tags = {**work.tags, TAG_JOB: job.id, TAG_SERVICE: job.service, TAG_PLAN: job.plan}
        is_full = replace(progress, full=(*progress.full, call.number))
        try:
            ran = self.world.launching.run(
                work.template, work.places[call.number], call.most, tags=tags, client_token=token_of(job)
            )
        except NoRoom as refusal:
            return replace(is_full, said=str(refusal))
        except LimitReached as limit:
            if call.most > 1:  # there may be room for some of them
                return replace(progress, at_once=call.most // 2)
            return replace(progress, refusal=f"{limit}; {RAISE_QUOTA}")
        by_place = {**progress.by_place, call.number: progress.by_place.get(call.number, 0) + len(ran)}
        known = progress if len(ran) == call.most else is_full
        return replace(known, made=adopting(progress, ran), by_place=by_place)

    def _terminate(self, job: StartJob, instance: Instance | None) -> None:
        if instance is None:
            return
        if instance.tags.get(TAG_JOB) != job.id:
            raise Conflict(f"its tag {TAG_JOB} is no longer {job.id}", resource=instance.id)
        self.world.launching.terminate(instance.id)

    def abandon(self, job: StartJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: StartJob) -> tuple[str, ...]:
        """Return the instances that were to be terminated and are not."""
        return job.progress.removal.left_of(job.progress.doomed)


def _has_to_go_on(job: StartJob) -> bool:
    """Return whether the next step is to launch, or to open launches: it depends on nothing that is seen."""
    progress = job.progress
    return progress.opened < len(progress.made) or next_call(job) is not None
