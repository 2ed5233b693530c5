"""Restores a point's data volumes onto an instance: made from its snapshots, attached at the devices they
were at, mounted and proven by the rule's scripts.

Invariant: a job that fails, or is cancelled, leaves nothing attached: it stops the script, then detaches and
deletes the volumes that it made itself, and no others. What was restored stays attached. The instance is
locked from before the first volume is made until the job is over.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from chalicelib.aws.ec2 import Attachment, Ec2, Instance, Volume
from chalicelib.aws.ssm import Ssm
from chalicelib.catalog.recovery_point import TAG_JOB, SnapshotRef
from chalicelib.catalog.store.points import PointStore
from chalicelib.catalog.store.rules import RuleStore
from chalicelib.catalog.store.writes import Write
from chalicelib.errors import Conflict, NotFound
from chalicelib.jobs.claims import lock_of_instance
from chalicelib.jobs.decision import Children, Cleaning, Decision, Do, Fail, Finish, Rest, Step, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import ADOPTION_GRACE, LOST_EVENT_AFTER, Budget, Job
from chalicelib.jobs.removal import Removal, remove
from chalicelib.jobs.script_run import (
    AGENT_LOOK,
    AGENT_PATIENCE,
    INTENT,
    Adopt,
    Choose,
    Ended,
    Machines,
    Remove,
    RunSeen,
    ScriptFailed,
    ScriptRun,
    Send,
    WriteLetter,
    advanced,
    clean_up_run,
    decide_run,
    observe_run,
    still_stopping,
)
from chalicelib.jobs.volume_plan import Wanted, planned_volume
from chalicelib.jobs.work import AttachedRestoreWork
from chalicelib.on_instance import ScriptsRun, are_run, scripts_command
from chalicelib.plans.durations import in_words
from chalicelib.plans.model import SnapshotRule
from chalicelib.recovery.data_volumes import data_volumes, taken_device, why_not_of_one
from chalicelib.recovery.making import BROKEN, made_unseen, make_volume, state_of

# How soon a change is looked for of which no event tells, or one that may be lost: attaching takes seconds.
LOOK_SOON = timedelta(seconds=10)
# EC2 has attached a volume long before, or will not: an attachment can hang for ever.
# https://docs.aws.amazon.com/ebs/latest/userguide/ebs-attaching-volume.html
ATTACH_PATIENCE = timedelta(minutes=15)
# A detachment that takes longer hangs, mostly because the file system is still mounted.
# https://docs.aws.amazon.com/ebs/latest/userguide/ebs-detaching-volume.html
DETACH_SOON = timedelta(minutes=5)
# How many volumes a reason names.
NAMED = 3


@dataclass(frozen=True, slots=True)
class AttachedProgress:
    """How far such a restore is: the volume of each snapshot and at each device, when the last was made; the
    volumes that AttachVolume was called for, and since when; the run of the scripts, how that ended; and in
    cleaning, whether volumes made unseen were looked for, and what was removed."""

    made: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    attaching: tuple[str, ...] = ()
    attaching_since: datetime | None = None
    run: ScriptRun = field(default_factory=ScriptRun)
    outcome: str | None = None
    looked: bool = False
    removal: Removal = field(default_factory=Removal)


AttachedJob = Job[AttachedRestoreWork, AttachedProgress]


@dataclass(frozen=True, slots=True)
class AttachedObservation:
    """The rule (None: there are no scripts), the instance (None: EC2 shows none), the snapshots to make
    volumes of, the volumes made, and the run of the scripts."""

    rule: SnapshotRule | None = None
    instance: Instance | None = None
    refs: tuple[SnapshotRef, ...] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    run: RunSeen = field(default_factory=RunSeen)

    @property
    def timeout(self) -> timedelta:
        """How long the scripts may take."""
        return self.rule.timeout if self.rule else timedelta(0)


@dataclass(frozen=True, slots=True)
class Create:
    """Make a volume of one snapshot; `last` when all others have been made."""

    ref: SnapshotRef
    zone: str
    last: bool


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach a volume at a device."""

    volume: str
    device: str


@dataclass(frozen=True, slots=True)
class Note:
    """Record the volumes that calls have made whose answer was lost, by their snapshots."""

    made: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NoteOutcome:
    """Record that the scripts have ended well, and the end of what they said."""

    outcome: str
    said: str


Action = Create | Attach | Note | Choose | WriteLetter | Send | Adopt | NoteOutcome | Remove


@dataclass(frozen=True, slots=True)
class AttachedRestore:
    """Restores volumes onto instances. `ec2` gives EC2 of a region; `ssm` is that of the instances'."""

    points: PointStore
    rules: RuleStore
    ec2: Callable[[str], Ec2]
    ssm: Ssm
    now: Callable[[], datetime]
    work = AttachedRestoreWork
    progress = AttachedProgress
    deadline = timedelta(days=3)

    def observe(self, job: AttachedJob, children: Children) -> AttachedObservation:
        """Look only at what the job's next step depends on."""
        seen, progress = AttachedObservation(self._rule(job)), job.progress
        if job.failure is not None:
            return self._observe_leavings(job, seen)
        if progress.outcome is not None:
            return seen
        if progress.run.instance is None:
            seen = self._observe_volumes(job, seen)
            if not _are_attached(job, seen) or _script(seen) is None:
                return seen
        return replace(seen, run=self._observe_run(job))

    def _observe_volumes(self, job: AttachedJob, seen: AttachedObservation) -> AttachedObservation:
        ec2 = self.ec2(job.work.region)
        instance = next(iter(ec2.instances_by_id([job.work.instance_id])), None)
        if instance is None:
            return seen
        made = ec2.volumes(job.progress.made.values()) if job.progress.made else ()
        refs = data_volumes(self._snapshots(job), instance)
        return replace(seen, instance=instance, refs=refs, volumes={each.id: each for each in made})

    def _observe_leavings(self, job: AttachedJob, seen: AttachedObservation) -> AttachedObservation:
        """Look at what a job that has failed may have to clean up."""
        ec2, recorded = self.ec2(job.work.region), job.progress.made.values()
        volumes = [*(ec2.volumes(recorded) if recorded else ()), *ec2.volumes_tagged(TAG_JOB, job.id)]
        refs = () if job.progress.looked else data_volumes(self._snapshots(job), None)
        seen = replace(seen, refs=refs, volumes={each.id: each for each in volumes})
        sent = job.progress.run.command is not None or job.intent is not None
        return replace(seen, run=self._observe_run(job)) if sent else seen

    def _observe_run(self, job: AttachedJob) -> RunSeen:
        machines = Machines(self.ssm, self.ec2(job.work.region))
        return observe_run(machines, None, job, job.progress.run, [job.work.instance_id])

    def _snapshots(self, job: AttachedJob) -> Iterator[SnapshotRef]:
        point = self.points.get(job.work.recovery_point)
        if point is None:
            raise NotFound("no such recovery point", operation="restoring", resource=job.work.recovery_point)
        return self.points.snapshots(point, job.work.vault)

    def _rule(self, job: AttachedJob) -> SnapshotRule | None:
        rule = self.rules.get(job.work.rule) if job.work.rule is not None else None
        if rule is not None and not isinstance(rule, SnapshotRule):
            raise TypeError(f"{job.id} is a restore of volumes of a {rule.kind} rule")
        return rule

    def decide(self, job: AttachedJob, seen: AttachedObservation, now: datetime) -> Decision[Action]:
        """Make the volumes, attach them, run the scripts."""
        if job.progress.outcome is not None:
            return Finish(job.progress.outcome)
        if job.progress.run.instance is None:
            step = _decide_volumes(job, seen, now)
            if isinstance(step, Fail):
                return Fail(f"{_what(job)}: {step.reason}")
            if step is not None:
                return step
            if _script(seen) is None:
                nothing = "the rule has no restore script, so nothing has mounted or verified them"
                return Finish(f"{_attached(job)}; {nothing}")
        match decide_run(job, job.progress.run, seen.run, now, seen.timeout):
            case Ended(stdout=stdout, said=said):
                if not are_run(stdout, self._run(job, seen.rule)):
                    why = "it ended with exit code 0, and does not say that it restored"
                    return Fail(
                        f"{_what(job)}: {why}; see in SSM what command {job.progress.run.command} printed"
                    )
                return Do(NoteOutcome(_success(job, seen), said), "the scripts have ended well")
            case ScriptFailed(reason=reason) | Fail(reason=reason):
                return Fail(f"{_what(job)}: {reason}")
            case step:
                return step

    def clean_up(self, job: AttachedJob, seen: AttachedObservation, now: datetime) -> Cleaning[Action]:
        """Stop the script, detach and delete the volumes that were made, end."""
        reason = job.failure.reason if job.failure else job.reason
        stops = still_stopping(job.progress.run, seen.run, now, seen.timeout)
        cleaning = clean_up_run(job, seen.run.commands, _commands(job), stops, now)
        if cleaning:
            return cleaning
        removing = _remove_volumes(job, seen, reason, now)
        if removing:
            return removing
        if not job.progress.looked:
            return _look_for_unseen(job, seen, reason, now)
        reason = reason if reason.startswith("restore of") else f"{_what(job)}: {reason}"
        left = job.progress.removal.left_of(job.progress.made.values())
        elsewhere = f"; left, as others have attached it elsewhere: {', '.join(left)}" if left else ""
        return Finish(reason + elsewhere)

    def abandon(self, job: AttachedJob, now: datetime) -> tuple[Write, ...]:
        """Record nothing."""
        return ()

    def leftovers(self, job: AttachedJob) -> tuple[str, ...]:
        """Return the command and the volumes that are still there."""
        return job.progress.removal.left_of((*_commands(job), *job.progress.made.values()))

    def act(self, job: AttachedJob, action: Action, turn: Turn) -> Step[AttachedProgress]:
        """Carry out one action."""
        progress, ec2 = job.progress, self.ec2(job.work.region)
        match action:
            case Create(ref=ref, zone=zone, last=last):
                volume = make_volume(ec2, job, ref, zone, planned_volume(ref, Wanted()).spec)
                made = {**progress.made, ref.id: volume.id}
                devices = {**progress.devices, ref.device: volume.id}
                rest = Rest(f"waiting for {', '.join(made.values())}") if last else None
                return Step(replace(progress, made=made, devices=devices, made_at=self.now()), rest=rest)
            case Attach():
                return self._attach(job, action)
            case Note(made=made):
                return Step(replace(progress, made={**progress.made, **made}, looked=True))
            case Choose() | Send() | Adopt():
                run, rest = advanced(job, progress.run, action, partial(self._send, job))
                return Step(replace(progress, run=run), rest=rest)
            case WriteLetter():
                raise TypeError("a run without a mailbox gets no letters")
            case NoteOutcome(outcome=outcome, said=said):
                return Step(replace(progress, outcome=outcome, run=replace(progress.run, said=said)))
            case Remove(what=what):
                return Step(
                    replace(progress, removal=remove(progress.removal, what, self._removing(job), self.now()))
                )

    def _attach(self, job: AttachedJob, attach: Attach) -> Step[AttachedProgress]:
        """Call AttachVolume. A call whose answer was lost is made again, and refused as the volume is in use;
        one that comes too soon after a change is refused, too."""
        since = job.progress.attaching_since or self.now()
        progress = replace(job.progress, attaching_since=since)
        try:
            self.ec2(job.work.region).attach_volume(attach.volume, job.work.instance_id, attach.device)
        except Conflict as refusal:
            if refusal.code == "IncorrectState":
                return Step(progress, rest=Rest(f"will try again: {refusal}", LOOK_SOON))
            if refusal.code != "VolumeInUse":
                raise
        return Step(replace(progress, attaching=(*progress.attaching, attach.volume)))

    def _removing(self, job: AttachedJob) -> Callable[[str], None]:
        ec2 = self.ec2(job.work.region)

        def remove_one(what: str) -> None:
            word, _, id = what.rpartition(" ")
            if word == "command":
                self.ssm.cancel(id)
            elif word == "attachment of":
                ec2.detach_volume(id, job.work.instance_id)
            else:
                ec2.delete_volume(id)

        return remove_one

    def _run(self, job: AttachedJob, rule: SnapshotRule | None) -> ScriptsRun:
        return ScriptsRun(
            job=job.id,
            service=job.service,
            script=(rule and rule.restore) or "",
            timeout=rule.timeout if rule else timedelta(0),
            verify=rule.verify if rule else None,
            volumes=job.progress.devices,
        )

    def _send(self, job: AttachedJob) -> str:
        rule = self._rule(job)
        run = self._run(job, rule)
        return self.ssm.send(
            job.progress.run.instance or "",
            scripts_command(run),
            comment=job.mark(INTENT),
            timeout=run.timeout,
            working_directory=rule.working_directory if rule else None,
        )


def _decide_volumes(
    job: AttachedJob, seen: AttachedObservation, now: datetime
) -> Do[Action] | Wait | Fail | None:
    """Make the volumes and attach them; None once all are attached."""
    waiting = _decide_instance(job, seen, now)
    if waiting or seen.instance is None:
        return waiting
    made = job.progress.made
    if why := why_not_of_one(seen.refs) or taken_device(seen.refs, seen.instance, made.values()):
        return Fail(why)
    for number, ref in enumerate(seen.refs):
        if ref.id not in made:
            create = Create(ref, seen.instance.availability_zone, len(made) == len(seen.refs) - 1)
            said = f"making volume {number + 1} of {len(seen.refs)}, of {ref.id}"
            return _do(job, create, said, "CreateVolume")
    states = {id: state_of(seen.volumes.get(id), job.progress.made_at, now) for id in made.values()}
    if broken := sorted(id for id, state in states.items() if state in BROKEN):
        return Fail(f"EC2 could not make {', '.join(broken)}")
    if pending := sorted(id for id, state in states.items() if state not in ("available", "in-use")):
        return Wait(now + LOST_EVENT_AFTER, f"waiting for {', '.join(pending)}")
    if seen.instance.state != "running":
        return Wait(now + LOOK_SOON, f"waiting for {seen.instance.id} to run")
    return _decide_attachments(job, seen, now)


def _decide_instance(job: AttachedJob, seen: AttachedObservation, now: datetime) -> Wait | Fail | None:
    """Wait a while for an instance that is not there yet, or does not run."""
    id, instance = job.work.instance_id, seen.instance
    if instance is None:
        if not job.progress.made and now < job.created_at + ADOPTION_GRACE:
            return Wait(now + LOOK_SOON, f"waiting for EC2 to show {id}")
        return Fail(f"{id} is not there, or was terminated")
    if instance.state in ("pending", "running"):
        return None
    if now < job.created_at + AGENT_PATIENCE:
        return Wait(now + AGENT_LOOK, f"waiting for {id} to run, which is {instance.state}; start it")
    return Fail(f"waited {in_words(AGENT_PATIENCE)} for {id} to run, which is {instance.state}; start it")


def _decide_attachments(
    job: AttachedJob, seen: AttachedObservation, now: datetime
) -> Do[Action] | Wait | Fail | None:
    """Attach each volume at its device; None once all are attached. All are there."""
    progress, waiting = job.progress, list[str]()
    since = progress.attaching_since
    overdue = since is not None and now >= since + ATTACH_PATIENCE
    for ref in seen.refs:
        volume = seen.volumes[progress.made[ref.id]]
        here, elsewhere = _attachments(job, volume)
        if elsewhere:
            return Fail(f"{volume.id} was attached to {elsewhere[0].instance_id} by somebody else")
        if here is not None and here.state == "attached":
            continue
        if here is not None and here.state == "detaching":
            return Fail(f"{volume.id} is being detached by somebody else")
        if here is None and volume.id not in progress.attaching and not overdue:
            said = f"attaching {volume.id} at {ref.device} of {job.work.instance_id}"
            return _do(job, Attach(volume.id, ref.device), said, "AttachVolume")
        waiting.append(f"{volume.id} at {ref.device}")
    if not waiting:
        return None
    if overdue:
        return Fail(f"EC2 has not attached {', '.join(waiting)} within {in_words(ATTACH_PATIENCE)}")
    return Wait(now + LOOK_SOON, f"EC2 attaches {', '.join(waiting)}")


def _are_attached(job: AttachedJob, seen: AttachedObservation) -> bool:
    """Return whether each snapshot's volume is attached to the instance."""
    volumes = [seen.volumes.get(job.progress.made.get(ref.id, "")) for ref in seen.refs]
    return bool(volumes) and all(
        volume is not None and (here := _attachments(job, volume)[0]) is not None and here.state == "attached"
        for volume in volumes
    )


def _attachments(job: AttachedJob, volume: Volume) -> tuple[Attachment | None, tuple[Attachment, ...]]:
    """Return a volume's attachment to the job's instance, and those to others."""
    mine = next((each for each in volume.attachments if each.instance_id == job.work.instance_id), None)
    return mine, tuple(each for each in volume.attachments if each.instance_id != job.work.instance_id)


def _look_for_unseen(
    job: AttachedJob, seen: AttachedObservation, reason: str, now: datetime
) -> Do[Action] | Wait:
    """Record the volumes that were made unseen, once EC2 must show them. None was if the instance was never
    locked."""
    found = made_unseen(job, seen.refs, job.progress.made, seen.volumes.values())
    visible_at = (job.failure.at if job.failure else now) + ADOPTION_GRACE
    tried = bool(job.progress.made) or lock_of_instance(job.work.instance_id) in job.locks
    missing = any(ref.id not in job.progress.made for ref in seen.refs)
    if tried and missing and now < visible_at:
        return Wait(visible_at, f"{reason}; looking for volumes whose answer was lost")
    return Do(Note(found), "noting the volumes that were made")


def _remove_volumes(
    job: AttachedJob, seen: AttachedObservation, reason: str, now: datetime
) -> Do[Action] | Wait | None:
    """Detach what is attached to the instance, delete what is attached to nothing; None when all is done that
    can be. What others have attached elsewhere is theirs by now."""
    removal, progress, waits = job.progress.removal, job.progress, list[Wait]()
    loose, held = list[str](), list[str]()
    made_at = progress.made_at or (job.failure.at if job.failure else now)
    for id in removal.left_of(progress.made.values()):
        volume = seen.volumes.get(id)
        state = state_of(volume, made_at, now)
        here, elsewhere = _attachments(job, volume) if volume else (None, ())
        if here is not None and here.state in ("attaching", "attached"):
            held.append(f"attachment of {id}")
        elif here is not None or state in ("creating", "not visible yet"):
            waits.append(_wait_for(job, id, here.state if here else state, now))
        elif not elsewhere:
            loose.append(id)
    for names, operation in ((held, "DetachVolume"), (loose, "DeleteVolume")):
        due = removal.due(names, now)
        if isinstance(due, Wait):
            waits.append(due)
        elif due:
            budget = Budget(operation, job.work.region, len(due))
            return Do(Remove(due), f"cleaning up after: {reason}", budget=budget)
    lingering = [name for name in held if name in removal.removed]
    if lingering:  # detached already, and EC2 still shows it attached
        if removal.tried_at is not None and now >= removal.tried_at + LOST_EVENT_AFTER:
            budget = Budget("DetachVolume", job.work.region, len(lingering))
            return Do(Remove(tuple(lingering)), f"cleaning up after: {reason}", budget=budget)
        waits += [_wait_for(job, name.rpartition(" ")[2], "attached", now) for name in lingering]
    if not waits:
        return None
    first = min(waits, key=lambda wait: wait.until)
    return replace(first, reason=f"{reason}; {'; '.join(wait.reason for wait in waits[:NAMED])}")


def _wait_for(job: AttachedJob, volume: str, state: str, now: datetime) -> Wait:
    """Wait for a volume to be detached, or to be visible: soon at first."""
    since = job.progress.removal.tried_at or (job.failure.at if job.failure else now)
    pause = LOOK_SOON if now < since + DETACH_SOON else DETACH_SOON
    hint = "" if pause == LOOK_SOON else "; unmount it, or stop the instance"
    return Wait(now + pause, f"{volume} is {state}{hint}")


def _do(job: AttachedJob, action: Action, reason: str, operation: str) -> Do[Action]:
    """Call EC2, in its turn and with the instance locked."""
    budget, lock = Budget(operation, job.work.region), lock_of_instance(job.work.instance_id)
    return Do(action, reason, budget=budget, locks=(lock,))


def _script(seen: AttachedObservation) -> str | None:
    return seen.rule.restore if seen.rule else None


def _commands(job: AttachedJob) -> tuple[str, ...]:
    return (f"command {job.progress.run.command}",) if job.progress.run.command else ()


def _what(job: AttachedJob) -> str:
    return f"restore of {job.work.recovery_point} from {job.work.vault} onto {job.work.instance_id}"


def _attached(job: AttachedJob) -> str:
    volumes = ", ".join(f"{volume} at {device}" for device, volume in sorted(job.progress.devices.items()))
    return f"restored {volumes} of {job.work.instance_id}"


def _success(job: AttachedJob, seen: AttachedObservation) -> str:
    is_proven = seen.rule is not None and seen.rule.verify
    proof = "and its verify script passed" if is_proven else "(the rule has no verify script)"
    return f"{_attached(job)}, mounted by the restore script {proof}"
