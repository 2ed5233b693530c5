"""Jobs, rules and points made without an engine, for the tests of what is decided about them. Pure."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.aws.ssm import Agent, Invocation
from chalicelib.catalog.recovery_point import (
    Artefact,
    Lineage,
    PointId,
    PointState,
    RecoveryPoint,
    SnapshotSet,
)
from chalicelib.catalog.store.rules import RuleId, RuleStore
from chalicelib.jobs.job import AnyJob, AnyRequest, Intent, Job, JobState
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.work import Cause, Target, backup_request, copy_request
from chalicelib.plans.lifecycle import Lifecycle
from chalicelib.plans.model import Kind, Rule, ServiceRule, SnapshotRule

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
JUST_NOW, LONG_AGO = timedelta(0), 5 * MINUTE
IN_REGION = SnapshotSet("eu-west-1", 0)
NONE: Any = None  # a part that nothing pure asks

SNAPSHOT_RULE = SnapshotRule(name="r", lifecycle=Lifecycle(count=3), rpo=HOUR)
SERVICE_RULE = ServiceRule(name="r", lifecycle=Lifecycle(count=3), rpo=HOUR, script="dump", restore="load")


class Says(str):
    """A reason that holds these words, whatever else it says; the rest of a decision is compared exactly."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in str(other)

    __hash__ = str.__hash__


class Rules(RuleStore):
    """A store of one rule, whatever id is asked for."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(NONE)
        self._rule = rule

    def get(self, rule_id: RuleId) -> Rule:
        return self._rule


def job_of(request: AnyRequest, progress: object, **more: Any) -> AnyJob:
    """Return the job that a request opens at noon, with this progress."""
    made: AnyJob = Job(
        id=request.id,
        kind=request.kind,
        method=request.method,
        state=JobState.RUNNING,
        service=request.service,
        plan=request.plan,
        rule=request.rule,
        nominal_at=request.nominal_at,
        created_at=NOON,
        updated_at=NOON,
        deadline=NOON + timedelta(days=1),
        reason=request.reason,
        secret="0123456789abcdef0123456789abcdef",
        work=request.work,
        progress=progress,
    )
    return replace(made, **more)


def backup_job(rule: Rule, instances: Iterable[str], progress: object, **more: Any) -> AnyJob:
    """Return a backup of these instances under a rule."""
    target = Target(
        Lineage("p", rule.name, rule.kind, "s"),
        RuleId("rule"),
        tuple(instances),
        "test",
        "eu-central-1",
        paced_by=rule.paced_by,
    )
    return job_of(backup_request(target, Cause(NOON, "test")), progress, **more)


def copy_job(point: RecoveryPoint, method: str, progress: object, **more: Any) -> AnyJob:
    """Return a copy of a point into the vault `dr`."""
    return job_of(copy_request(point, "dr", method), progress, **more)


def part_of(job: AnyJob, number: int) -> AnyJob:
    """Return the child job that does one part of a large one."""
    return replace(job, work=replace(job.work, shard=number), parent=job.id)


def failed(job: AnyJob, reason: str = "it failed") -> AnyJob:
    """Return the job with its failure recorded, if none is."""
    return job.failed(reason, NOON)


def intended(name: str, ago: timedelta = JUST_NOW) -> Intent:
    """Return an intent recorded so long before noon."""
    return Intent(name, NOON - ago)


def refused(*ids: str, ago: timedelta = JUST_NOW) -> Removal:
    """Return a removal to which these were refused once, so long before noon."""
    return Removal(refused=dict.fromkeys(ids, "an AMI uses it"), tried_at=NOON - ago, tries=1)


def online(*instances: str) -> dict[str, Agent]:
    """Return the agents of instances that answer."""
    return {instance: Agent(online=True, last_ping=NOON) for instance in instances}


def said(status: str, exit_code: int | None = None, details: str = "", stdout: str = "out") -> Invocation:
    """Return what SSM shows of a command in this state, whose script wrote `stdout` and `err`."""
    return Invocation(status, details or status, exit_code, stdout, "err")


def point_in(*vaults: str, hours: int = 0, kind: Kind = Kind.SNAPSHOT, **artefact: Any) -> RecoveryPoint:
    """Return a point that is so many hours old, with the same kind of artefact in each vault."""
    at = NOON - timedelta(hours=hours)
    artefacts = {
        vault: Artefact(
            vault, **{"state": PointState.AVAILABLE, "content": IN_REGION, "folder": f"{vault}/", **artefact}
        )
        for vault in vaults
    }
    return RecoveryPoint(
        id=PointId(f"rp-{hours:032d}"),
        service="s",
        plan="p",
        rule="r",
        kind=kind,
        state=PointState.AVAILABLE,
        nominal_at=at,
        created_at=at,
        source={},
        artefacts=artefacts,
    )
