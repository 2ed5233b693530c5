"""How far a launch job is, and what it sees: the instance, its group's wait, the point to restore. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.aws.ec2 import Instance
from chalicelib.aws.ssm import Agent
from chalicelib.catalog.recovery_point import Artefact, RecoveryPoint
from chalicelib.jobs.decision import Children
from chalicelib.jobs.job import Job, JobState
from chalicelib.jobs.lifecycle_wait import HookSeen
from chalicelib.jobs.work import LaunchWork
from chalicelib.plans.model import Kind
from chalicelib.recovery.identity_state import IdentityProgress, IdentitySeen


@dataclass(frozen=True, slots=True)
class LaunchProgress:
    """How far a launch is: when the instance ran, its agent answered, its data was there and was verified;
    the point, and the job that restores it (or backs up, or configures); how that ended; the last heartbeat;
    what the group was told; whether the service's identity is to be moved, who had it, and that it was."""

    running_at: datetime | None = None
    online_at: datetime | None = None
    restored_at: datetime | None = None
    verified_at: datetime | None = None
    point: str = ""
    job: str = ""
    outcome: str = ""
    heartbeat_at: datetime | None = None
    told: str = ""
    moves_identity: bool = False
    identity: IdentityProgress = field(default_factory=IdentityProgress)
    identity_moved: bool = False


LaunchJob = Job[LaunchWork, LaunchProgress]


@dataclass(frozen=True, slots=True)
class Choice:
    """The newest good point and the artefact to restore it from, if there is one; a backup of the same under
    way that will be newer; and how many points are there that are not good."""

    point: RecoveryPoint | None = None
    artefact: Artefact | None = None
    awaited: str | None = None
    unfit: int = 0


@dataclass(frozen=True, slots=True)
class LaunchSeen:
    """What the world shows of a launch, as far as its next step depends on it."""

    instance: Instance | None = None
    agent: Agent | None = None
    hook: HookSeen = field(default_factory=HookSeen)
    choice: Choice = field(default_factory=Choice)
    children: Children = field(default_factory=Children)
    backup: JobState | None = None
    backup_reason: str = ""
    verifies: bool = False
    identity: IdentitySeen | None = None


def newest_good(
    points: Sequence[RecoveryPoint], region: str, vault: str | None = None
) -> tuple[RecoveryPoint, Artefact] | None:
    """Return the newest good point, by when its data was taken, and the artefact to restore it from: the one
    in `vault`, or when none is named in `primary`, or else in another; snapshots only from `region`.

    A good one is complete, and where it is a file its bytes were read back once.
    """
    for point in sorted(points, key=lambda one: (one.created_at, one.id), reverse=True):
        if point.is_flagged or not _is_verified(point):
            continue
        for each in point.available_in():
            artefact = point.artefacts[each]
            if vault not in (None, each):
                continue
            if artefact.snapshots.region in ("", region):
                return point, artefact
    return None


def _is_verified(point: RecoveryPoint) -> bool:
    return point.kind is Kind.SNAPSHOT or any(each.verified_at for each in point.artefacts.values())
