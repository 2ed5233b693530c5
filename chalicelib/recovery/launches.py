"""Serves an instance that starts: waits for its SSM agent, restores its service's newest good point onto it
(or backs it up, or runs a script that configures it), moves the service's identity to it, tells its group.

The work itself is done by child jobs; this one waits for them and for the instance. Invariants: the group is
told one result, while it still waits for one; a launch that the group has given up on goes no further, and
what was made for it is undone by the child that made it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chalicelib.aws.autoscaling import TERMINATING, AutoScaling
from chalicelib.aws.ec2 import Ec2
from chalicelib.aws.events import GOING
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.recovery_point import Artefact, Lineage, Origin, RecoveryPoint
from chalicelib.catalog.store.launching import launched
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.services import ServiceStore
from chalicelib.catalog.store.writes import Write
from chalicelib.jobs.claims import lock_of_identity
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, AnyRequest, JobState
from chalicelib.jobs.lifecycle_wait import ABANDON, CONTINUE, HookSeen, HookWatch, ends_by, heartbeat_due
from chalicelib.jobs.script_run import no_agent
from chalicelib.jobs.store import JobStore
from chalicelib.jobs.work import LaunchWork, termination_id
from chalicelib.plans.durations import in_words
from chalicelib.plans.model import Rule
from chalicelib.recovery.identities import Identities
from chalicelib.recovery.identity import next_move, next_move_back, whereabouts
from chalicelib.recovery.identity_state import IdentitySeen, Move
from chalicelib.recovery.launch_progress import Choice, LaunchJob, LaunchProgress, LaunchSeen, newest_good

# An intent: how the work ended is stored before the group is told, as it does not wait after that.
TELLING = "tell"
# No event says that an agent is online (a fresh instance's is after a minute or two), or that a job that is
# no child of this one is over.
LOOK = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Note:
    """Record what was seen: that the instance runs, that its agent answers, or how the work ended."""

    progress: LaunchProgress


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Let the group wait on."""


@dataclass(frozen=True, slots=True)
class BeginRestore:
    """Open the job that restores a point onto the instance."""

    point: RecoveryPoint
    artefact: Artefact


@dataclass(frozen=True, slots=True)
class BeginBackup:
    """Open the first backup."""


@dataclass(frozen=True, slots=True)
class BeginScript:
    """Open the job that runs the script."""


@dataclass(frozen=True, slots=True)
class MoveIdentity:
    """Make one call that moves the service's identity to the instance, or back."""

    move: Move


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the group a result."""

    result: str


Action = Note | Heartbeat | BeginRestore | BeginBackup | BeginScript | MoveIdentity | Tell


@dataclass(frozen=True, slots=True)
class LaunchWorld:
    """What launches look at and call."""

    ec2: Ec2
    ssm: Ssm
    autoscaling: AutoScaling
    points: PointStore
    services: ServiceStore
    rules: RuleStore
    identities: Identities
    jobs: Callable[[], JobStore]
    deployment: str
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class LaunchOpeners:
    """What opens the work: `restore` gives the child job that restores a point, `script` the one that runs a
    script; `backup` opens a backup of one instance for a launch job and gives its id."""

    restore: Callable[[LaunchJob, RecoveryPoint, Artefact, Rule], AnyRequest]
    script: Callable[[LaunchJob], AnyRequest]
    backup: Callable[[LaunchJob], str]


@dataclass(frozen=True, slots=True)
class Launch:
    """Serves instances that start."""

    world: LaunchWorld
    opens: LaunchOpeners
    work = LaunchWork
    progress = LaunchProgress
    deadline = timedelta(hours=48)

    def observe(self, job: LaunchJob, children: Children) -> LaunchSeen:
        """Look only at what the job's next step depends on."""
        world, work, progress = self.world, job.work, job.progress
        hook = self._hook(job)
        if progress.outcome or job.failure is not None or work.as_it_is:
            return LaunchSeen(hook=hook, identity=self._identity(job))
        instance = next(iter(world.ec2.instances_by_id([work.instance_id])), None)
        verifies = bool(work.on_launch.restore and self._rule(job).verify)
        seen = LaunchSeen(instance, hook=hook, children=children, verifies=verifies)
        if progress.job:
            backup = self.world.jobs().get(progress.job) if work.on_launch.backup else None
            return replace(seen, backup=backup.state, backup_reason=backup.reason) if backup else seen
        if progress.online_at is None:
            running = instance is not None and instance.state == "running"
            agent = world.ssm.agents([work.instance_id]).get(work.instance_id) if running else None
            return replace(seen, agent=agent)
        return replace(seen, choice=self._choice(job)) if work.on_launch.restore else seen

    def _identity(self, job: LaunchJob) -> IdentitySeen | None:
        """Look where the service's identity is, while it is to be moved, or back."""
        identity, progress = job.work.identity, job.progress
        touched = bool(progress.identity.touched)
        if identity is None or not (touched if job.failure else _is_to_move(job)):
            return None
        return self.world.identities.observe(identity, job.work.instance_id, progress.identity)

    def _hook(self, job: LaunchJob) -> HookSeen:
        if job.work.hook is None or job.progress.told:
            return HookSeen()
        watch = HookWatch(self.world.autoscaling, self.world.jobs, is_done=_is_done)
        return watch.observe(job, tolerant=job.failure is not None)

    def _choice(self, job: LaunchJob) -> Choice:
        """Look for the newest good point of the service, and for a backup that was begun because an instance
        goes: it will be newer."""
        if job.work.recovery_point is not None:
            return self._named(job.work.recovery_point, job.work.vault or "")
        rule = self._rule(job)
        lineage = Lineage(job.plan, rule.name, rule.kind, job.service)
        points = self.world.points.of_lineage(lineage)
        found = newest_good(points, self.world.ec2.region)
        point, artefact = found or (None, None)
        unfit = sum(1 for each in points if each.available_in())
        awaited = self._last_backup(lineage) or self._waits_to_go(job)
        return Choice(point, artefact, awaited, unfit)

    def _named(self, point_id: str, vault: str) -> Choice:
        """Look for the point that is to be restored, whatever else there is."""
        point = self.world.points.get(point_id)
        if point is None or vault not in point.available_in():
            return Choice(unfit=1)
        return Choice(point, point.artefacts[vault])

    def _waits_to_go(self, job: LaunchJob) -> str | None:
        """Return an instance of the same group that is kept until it is backed up, and not by others."""
        ref = job.work.hook
        if ref is None or not job.work.awaits_terminations:
            return None
        members = self.world.autoscaling.members(ref.group)
        going = (each for each in members if each.waits_for(TERMINATING))
        return next((f"the backup of {each.id}" for each in going if self._is_saved(job, each.id)), None)

    def _is_saved(self, job: LaunchJob, instance_id: str) -> bool:
        """Return whether an instance that goes is being backed up, or soon will be: its event may be late."""
        saving = self.world.jobs().get(termination_id(self.world.deployment, job.plan, instance_id))
        if saving is None:
            return self.world.now() < job.created_at + LOST_EVENT_AFTER
        return not saving.state.final

    def _last_backup(self, lineage: Lineage) -> str | None:
        running = self.world.services.of_lineage(lineage).running
        backup = self.world.jobs().get(running) if running else None
        if backup is None or backup.state.final or backup.work.terms.origin is not Origin.TERMINATION:
            return None
        return backup.id

    def _rule(self, job: LaunchJob) -> Rule:
        if job.work.rule is None:
            raise ValueError(f"{job.id} names no rule")
        return self.world.rules.get(job.work.rule)

    def decide(self, job: LaunchJob, seen: LaunchSeen, now: datetime) -> Decision[Action]:
        """Wait for the instance, do its work, tell the group; never outlast what the group waits for."""
        over = bool(job.progress.outcome or job.work.as_it_is)
        if job.progress.told == ABANDON:
            return Fail(job.reason)
        if over and not _is_to_move(job):
            return _decide_end(job, seen, self.abandon(job, now), now)
        if why := _given_up(job, seen, now):
            return Fail(why)
        ref, hook = job.work.hook, seen.hook.hook
        ends = ends_by(ref, hook, job.created_at + job.work.on_launch.timeout)
        if now >= ends:
            return _decide_late(
                job, f"not done by {ends:%H:%M:%S} UTC, as long as it may take; last: {job.reason}"
            )
        if (due := heartbeat_due(ref, hook, job.progress.heartbeat_at)) is not None and now >= due:
            return Do(Heartbeat(), f"{job.reason}; telling group {_group(job)} that work goes on")
        decision = _decide_identity(job, seen, now) if over else _decide_work(job, seen, now)
        if isinstance(decision, Wait):
            return replace(decision, until=min(decision.until, due or ends, ends))
        return decision

    def clean_up(self, job: LaunchJob, seen: LaunchSeen, now: datetime) -> Cleaning[Action]:
        """Tell the group that it failed, if it still waits; what was made is undone by its own job."""
        reason, ref = (job.failure.reason if job.failure else job.reason), job.work.hook
        if job.work.identity is not None and seen.identity is not None:
            back = next_move_back(
                job.work.identity, job.work.instance_id, job.progress.identity, seen.identity, now
            )
            if isinstance(back, Wait):
                return replace(back, reason=f"{reason}; {back.reason}")
            if back is not None:
                return _moving(job, back, f"{reason}; {back.reason}")
            said = whereabouts(job.work.identity, job.progress.identity, seen.identity)
            reason = "; ".join((reason, *said))
        if ref is None or job.progress.told:
            return Finish(_told(job, reason), writes=self.abandon(job, now))
        if not seen.hook.waits_at(ref):
            return Finish(f"{reason}; {seen.hook.why_not(ref)}", writes=self.abandon(job, now))
        if _abandons(job):
            return Do(Tell(ABANDON), f"{reason}; telling group {ref.group} {ABANDON}")
        return _telling(job, seen.hook, reason, now)

    def act(self, job: LaunchJob, action: Action, turn: Turn) -> Step[LaunchProgress]:
        """Carry out one action."""
        progress, work = job.progress, job.work
        match action:
            case Note(progress=noted):
                return Step(noted)
            case Heartbeat() if work.hook is not None:
                self.world.autoscaling.record_heartbeat(work.hook.group, work.hook.name, work.instance_id)
                return Step(replace(progress, heartbeat_at=self.world.now()))
            case BeginRestore(point=point, artefact=artefact):
                child = self.opens.restore(job, point, artefact, self._rule(job))
                return Step(replace(progress, point=point.id, job=child.id), children=(child,))
            case BeginScript():
                child = self.opens.script(job)
                return Step(replace(progress, job=child.id), children=(child,))
            case BeginBackup():
                return Step(replace(progress, job=self.opens.backup(job)))
            case MoveIdentity(move=move):
                moved = self.world.identities.act(move, progress.identity)
                return Step(replace(progress, identity=moved))
            case Tell(result=result) if work.hook is not None:
                self.world.autoscaling.complete(work.hook.group, work.hook.name, work.instance_id, result)
                return Step(replace(progress, told=result))
            case _:
                raise ValueError(f"{job.id} has no hook for {action}")

    def abandon(self, job: LaunchJob, now: datetime) -> tuple[Write, ...]:
        """Record that the launch is over: what lies on the instance is backed up again."""
        return () if job.work.as_it_is else (launched(job.plan, job.work.instance_id),)

    def leftovers(self, job: LaunchJob) -> tuple[str, ...]:
        """Return nothing: what was made is its child's."""
        return ()


def _abandons(job: LaunchJob) -> bool:
    """Return whether a launch that failed is abandoned: as the plan says, and where it lacks a point that is
    required."""
    on_launch = job.work.on_launch
    return on_launch.on_failure == "abandon" or (on_launch.required and not job.progress.point)


def _is_done(job: LaunchJob) -> bool:
    """Return whether a launch has done all but tell the group that it has."""
    return bool(job.progress.outcome) and job.failure is None and not _is_to_move(job)


def _decide_late(job: LaunchJob, reason: str) -> Decision[Action]:
    """Give up. What is half done is undone after the group was told to abandon the instance: undoing takes
    time, and the hook's default may be to continue."""
    if job.work.hook is None or job.work.on_launch.on_failure == "continue":
        return Fail(reason)
    return Do(Tell(ABANDON), reason)


def _telling(job: LaunchJob, seen: HookSeen, reason: str, now: datetime) -> Do[Action] | Wait:
    """Tell the group to go on, once no other plan works on the instance."""
    if not seen.beside:
        said = f"{reason}; telling group {_group(job)} {CONTINUE}"
        return Do(Tell(CONTINUE), said, intent=TELLING)
    return Wait(
        now + LOOK, f"{reason}; waiting for {seen.beside}, which works on {job.work.instance_id}, too"
    )


def _decide_end(
    job: LaunchJob, seen: LaunchSeen, writes: tuple[Write, ...], now: datetime
) -> Decision[Action]:
    """Tell the group that the instance may go into service, or into its warm pool."""
    ref, outcome = job.work.hook, job.progress.outcome
    if job.work.as_it_is:
        outcome = f"{job.work.instance_id} goes on as it is: {job.work.as_it_is}"
    if ref is None or job.progress.told:
        return Finish(_told(job, outcome), writes)
    if not seen.hook.waits_at(ref):
        return Finish(f"{outcome}; {seen.hook.why_not(ref)}", writes)
    return _telling(job, seen.hook, outcome, now)


def _given_up(job: LaunchJob, seen: LaunchSeen, now: datetime) -> str | None:
    """Return why this launch is no longer wanted, None while it is."""
    ref, instance = job.work.hook, seen.instance
    what = f"launch of {job.work.instance_id} for {job.service}"
    if ref is not None and not seen.hook.waits_at(ref):
        if seen.hook.member is None and seen.hook.hook is not None and now < ref.since + ADOPTION_GRACE:
            return None  # not shown yet
        return f"{what}: {seen.hook.why_not(ref)}"
    if job.progress.outcome:
        return None  # where the identity is moved to is looked at then
    if instance is not None:
        return f"{what}: the instance is {instance.state}" if instance.state in GOING else None
    shown_by = job.created_at + ADOPTION_GRACE
    return f"{what}: there is no such instance any more" if now >= shown_by else None


def _decide_work(job: LaunchJob, seen: LaunchSeen, now: datetime) -> Decision[Action]:
    if job.progress.job:
        return _decide_begun(job, seen, now)
    if job.progress.online_at is None:
        return _decide_ready(job, seen, now)
    on_launch = job.work.on_launch
    if on_launch.backup:
        return Do(BeginBackup(), f"backing {job.service} up for the first time")
    if on_launch.script:
        return Do(BeginScript(), f"configuring {job.work.instance_id}")
    return _decide_point(job, seen.choice, now)


def _decide_ready(job: LaunchJob, seen: LaunchSeen, now: datetime) -> Decision[Action]:
    """Wait until the instance runs and its agent answers."""
    instance, progress = job.work.instance_id, job.progress
    if seen.instance is None or seen.instance.state != "running":
        state = seen.instance.state if seen.instance else "not listed yet"
        return Wait(now + LOOK, f"waiting for {instance} to run: it is {state}")
    if progress.running_at is None:
        return Do(Note(replace(progress, running_at=now)), f"{instance} runs")
    if seen.agent is None or not seen.agent.online:
        agents = {instance: seen.agent} if seen.agent else {}
        return Wait(now + LOOK, f"waiting for {no_agent([instance], agents)}")
    return Do(Note(replace(progress, online_at=now)), f"the SSM agent of {instance} answers")


def _decide_point(job: LaunchJob, choice: Choice, now: datetime) -> Decision[Action]:
    """Choose the point to restore, once nothing newer is on its way."""
    on_launch = job.work.on_launch
    if choice.awaited is not None:
        why = f"waiting for {choice.awaited}: an instance of {job.service} goes, and what it has is newer"
        return Wait(now + LOOK, why)
    if choice.point is not None and choice.artefact is not None:
        made = f"{choice.point.created_at:%Y-%m-%d %H:%M:%S} UTC"
        return Do(
            BeginRestore(choice.point, choice.artefact),
            f"restoring {choice.point.id} of {made} from {choice.artefact.vault} onto {job.work.instance_id}",
        )
    unfit = f"; {choice.unfit} that are suspect, partial or not verified do not count" if choice.unfit else ""
    none = f"there is no good point of {job.service}, rule {on_launch.restore}, to restore yet{unfit}"
    if on_launch.required:
        return Fail(f"{none}, and on_launch.required wants one")
    outcome = f"{none}: {job.work.instance_id} starts empty"
    is_first = choice.unfit == 0
    return Do(Note(replace(job.progress, outcome=outcome, moves_identity=is_first)), "nothing to restore")


def _decide_begun(job: LaunchJob, seen: LaunchSeen, now: datetime) -> Decision[Action]:
    """Wait for the job that does the work, and note how it ended."""
    progress, child = job.progress, job.progress.job
    if job.work.on_launch.backup:
        state, reason = seen.backup or JobState.FAILED, seen.backup_reason
    else:
        said = seen.children.states.get(child, "OPEN")
        state = JobState.RUNNING if said == "OPEN" else JobState(said)
        reason = seen.children.reasons.get(child, "")
    if not state.final:
        span = LOOK if job.work.on_launch.backup else LOST_EVENT_AFTER
        return Wait(now + span, f"{child} is under way for {job.work.instance_id}")
    if state is not JobState.COMPLETED:
        return Fail(f"{child}: {reason or 'it did not end well'}")
    took = in_words(_rounded(now - job.work.began_at))
    outcome = f"{reason}; {took} after the launch began"
    done = replace(progress, outcome=outcome, restored_at=now, moves_identity=True)
    done = replace(done, verified_at=now) if seen.verifies else done
    return Do(Note(done), f"{child} is done")


def _is_to_move(job: LaunchJob) -> bool:
    """Return whether the service's identity is still to be moved to the instance."""
    progress = job.progress
    return job.work.identity is not None and progress.moves_identity and not progress.identity_moved


def _decide_identity(job: LaunchJob, seen: LaunchSeen, now: datetime) -> Decision[Action]:
    """Move the service's identity to the instance, whose data is there and verified."""
    identity, progress = job.work.identity, job.progress
    if identity is None or seen.identity is None:
        raise ValueError(f"{job.id} has no identity to move")
    step = next_move(identity, job.work.instance_id, progress.identity, seen.identity, now)
    if step is None:
        outcome = f"{progress.outcome}; {job.service}'s identity is with {job.work.instance_id}"
        return Do(Note(replace(progress, identity_moved=True, outcome=outcome)), "the identity is moved")
    if isinstance(step, Wait | Fail):
        return step
    return _moving(job, step, step.reason)


def _moving(job: LaunchJob, move: Move, reason: str) -> Do[Action]:
    return Do(MoveIdentity(move), reason, locks=(lock_of_identity(job.plan, job.service),))


def _rounded(span: timedelta) -> timedelta:
    return timedelta(seconds=max(1, round(span.total_seconds())))


def _group(job: LaunchJob) -> str:
    return job.work.hook.group if job.work.hook else ""


def _told(job: LaunchJob, reason: str) -> str:
    return f"{reason}; group {_group(job)} was told {job.progress.told}" if job.progress.told else reason
