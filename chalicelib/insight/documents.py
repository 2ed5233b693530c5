"""Jobs, recovery points, findings and services as the API answers them.

Each answer is a model that declares its keys and what they mean; the functions make it of what there is.
Pure; the keys are a contract (docs/api.md).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, WithJsonSchema

from chalicelib.catalog.recovery_point import (
    STATES_OF_POINTS,
    Artefact,
    Origin,
    PointState,
    RecoveryPoint,
    SnapshotRef,
)
from chalicelib.catalog.store.findings import Finding, FindingKind
from chalicelib.catalog.values import Answer, Moment, present
from chalicelib.jobs.job import AnyJob, AnyRequest, JobKind, JobState
from chalicelib.jobs.volume_plan import PlannedVolume, planned_volume, wanted_by
from chalicelib.jobs.work import BackupWork, InventoryWork, ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.declared import Maybe
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Kind, Plan, ServiceRule

# What an answer lists of a restore's volumes; of a larger one each child job lists its own.
VOLUMES_LISTED = 100


def _says(description: str) -> Any:
    return Field(description=description)


AsStored = Annotated[Plan, PlainSerializer(Plan.document)]
"""A plan with every default filled in, whatever else an answer leaves out."""


class PlanPage(Answer):
    """A page of plans, by name."""

    items: Annotated[tuple[AsStored, ...], _says("the plans")]
    cursor: Annotated[str | None, _says("what continues behind them; null on the last page")]


class TargetAnswer(Answer):
    """Where a restore goes: an instance, or the zone and kind of its volumes."""

    instance_id: Annotated[Maybe[str], _says("the instance whose script restores the service")] = None
    availability_zone: Annotated[Maybe[str], _says("the zone of the volumes")] = None
    size: Annotated[Maybe[int], _says("GiB of each volume, as it was asked for")] = None
    type: Annotated[Maybe[str], _says("the EBS volume type, as it was asked for")] = None
    iops: Annotated[Maybe[int], _says("IOPS of each volume, as they were asked for")] = None
    throughput: Annotated[Maybe[int], _says("MiB/s of each volume, as they were asked for")] = None


class VolumeSource(Answer):
    """What a snapshot was first made of."""

    instance: str
    device: str
    volume: str


class VolumeAnswer(Answer):
    """A volume that a restore makes of a snapshot."""

    snapshot: Annotated[str, _says("the snapshot it is made of")]
    source: Annotated[VolumeSource, _says("the instance, device and volume the snapshot was made of")]
    size: Annotated[int, _says("GiB")]
    type: Annotated[str, _says("its EBS volume type")]
    iops: Annotated[int | None, _says("its IOPS; null where the type says it")]
    throughput: Annotated[int | None, _says("its MiB/s; null where the type says it")]
    multi_attach: Annotated[bool, _says("whether several instances may attach it")]
    differs: Annotated[tuple[str, ...], _says("in what it differs from the recorded volume, and why")]
    volume: Annotated[Maybe[str], _says("the volume, when it is there")] = None
    remark: Annotated[Maybe[str], _says("what to know of this snapshot")] = None


class Judged(Answer):
    """What an expire job decided of a recovery point in one vault."""

    recovery_point: Annotated[str, _says("the point")]
    vault: Annotated[str, _says("the vault")]
    keep: Annotated[bool, _says("whether it is kept there")]
    reason: Annotated[str, _says("why")]


class JobAnswer(Answer):
    """A job."""

    id: Annotated[str, _says("the job's id")]
    kind: Annotated[JobKind, _says("what it is for")]
    method: Annotated[str, _says("how that is done, such as `snapshot` or `service`")]
    state: Annotated[JobState, _says("where it stands; the last three are final")]
    service: Annotated[str, _says("the service it works for")]
    plan: Annotated[str, _says("the plan it was opened under")]
    rule: Annotated[str, _says("the rule of the plan")]
    nominal_at: Annotated[Moment, _says("when it was due, or asked for")]
    created_at: Annotated[Moment, _says("when it was opened")]
    updated_at: Annotated[Moment, _says("when it last got on")]
    deadline: Annotated[Moment, _says("when it fails, whatever it waits for")]
    reason: Annotated[str, _says("what it waits for, what it did, or what failed, on what, and why")]
    late: Annotated[bool, _says("whether it is a run that was caught up")]
    parent: Annotated[Maybe[str], _says("the job it is a part of")] = None
    parts: Annotated[Maybe[int], _says("how many child jobs it has")] = None
    left: Annotated[Maybe[tuple[str, ...]], _says("what it made and could not remove")] = None
    superseded: Annotated[Maybe[int], _says("how many due runs before a backup never began")] = None
    error: Annotated[Maybe[str], _says("the error it failed with")] = None
    recovery_point: Annotated[Maybe[str], _says("the recovery point it makes or works on")] = None
    vault: Annotated[Maybe[str], _says("the vault it works in")] = None
    region: Annotated[Maybe[str], _says("the region that an inventory looks at")] = None
    origin: Annotated[Maybe[Origin], _says("what a backup was opened by")] = None
    note: Annotated[Maybe[str], _says("the note of whoever asked for a backup")] = None
    target: Annotated[Maybe[TargetAnswer], _says("where a restore goes")] = None
    instance_id: Annotated[Maybe[str], _says("the instance its script runs on")] = None
    command_id: Annotated[Maybe[str], _says("the SSM command its script runs as")] = None
    said: Annotated[Maybe[str], _says("the last 2,000 characters that scripts wrote that ended well")] = None
    made: Annotated[Maybe[dict[str, str]], _says("the snapshots or volumes it made, by what they are of")] = (
        None
    )
    suspect: Annotated[Maybe[str], _says("why the point it makes is doubted")] = None
    judged: Annotated[
        Maybe[tuple[Judged, ...]],
        _says("each keep and each delete of an expire job, of the keeps the first 500"),
    ] = None
    volume_count: Annotated[Maybe[int], _says("how many volumes a restore makes")] = None
    volumes: Annotated[Maybe[tuple[VolumeAnswer, ...]], _says(f"its volumes, the first {VOLUMES_LISTED}")] = (
        None
    )


class JobPage(Answer):
    """A page of jobs, newest first."""

    items: Annotated[tuple[JobAnswer, ...], _says("the jobs")]
    cursor: Annotated[str | None, _says("what continues behind them; null on the last page")]


class JobsAnswer(Answer):
    """The jobs that were opened."""

    jobs: Annotated[tuple[str, ...], _says("their ids, to be looked at with `GET /jobs/{job_id}`")]


def job_answer(job: AnyJob, refs: Sequence[SnapshotRef] = ()) -> JobAnswer:
    """Return a job; `refs` are the snapshots it makes volumes of."""
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        method=job.method,
        state=job.state,
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        nominal_at=job.nominal_at,
        created_at=job.created_at,
        updated_at=job.updated_at,
        deadline=job.deadline,
        reason=job.reason,
        late=bool(getattr(job.work, "late", False)),
        **present(
            parent=job.parent,
            parts=job.children or None,
            left=job.left or None,
            superseded=job.superseded or None,
            error=job.failure.reason if job.failure else None,
        ),
        **_work_keys(job.work),
        **_progress_keys(job.progress),
        **volume_keys(job.work, refs, getattr(job.progress, "made", {})),
    )


def _work_keys(work: Any) -> dict[str, Any]:
    """Return what of a job's work is worth showing."""
    keys = present(recovery_point=getattr(work, "recovery_point", None), vault=getattr(work, "vault", None))
    match work:
        case InventoryWork(region=region):
            keys |= present(region=region)
        case BackupWork(terms=terms):
            keys |= present(origin=terms.origin, note=terms.note or None)
        case ServiceRestoreWork(instance_id=instance):
            keys["target"] = TargetAnswer(instance_id=instance)
        case VolumeRestoreWork(availability_zone=zone) as work:
            spec = present(size=work.size_gib, type=work.type, iops=work.iops, throughput=work.throughput)
            keys["target"] = TargetAnswer(availability_zone=zone, **spec)
    return keys


def _progress_keys(progress: Any) -> dict[str, Any]:
    """Return what of a job's progress is worth showing."""
    run, judged = getattr(progress, "run", None), getattr(progress, "judged", None)
    rows = (
        Judged(recovery_point=each.point, vault=each.vault, keep=each.keep, reason=each.reason)
        for each in judged or ()
    )
    return present(
        instance_id=getattr(run, "instance", None),
        command_id=getattr(run, "command", None),
        said=getattr(run, "said", "") or None,
        made=dict(getattr(progress, "made", {})) or None,
        suspect=getattr(progress, "suspect", "") or None,
        judged=tuple(rows) if judged is not None else None,
    )


class DueCopyAnswer(Answer):
    """A copy that failed and is made again."""

    vault: Annotated[str, _says("the vault it goes into")]
    tries: Annotated[int, _says("how often it was tried")]
    next_try_at: Annotated[Moment | None, _says("when it is tried again; null: at once")]


class ArtefactAnswer(Answer):
    """A recovery point as it lies in one vault: snapshots in a region, or a file."""

    vault: Annotated[str, _says("the vault")]
    state: Annotated[PointState, _says("where it stands there")]
    verified_at: Annotated[
        Moment | None, _says("when its bytes were last read back and found right; snapshots are not")
    ]
    reason: Annotated[str, _says("why it is in this state, where that needs saying")]
    let_go_at: Annotated[Maybe[Moment], _says("until when it can be taken back")] = None
    region: Annotated[str | None, _says("of snapshots: their region")] = None
    snapshot_count: Annotated[Maybe[int], _says("of snapshots: how many there are")] = None
    snapshot_ids: Annotated[
        Maybe[tuple[str, ...]], _says("of snapshots: their ids, none where there are very many")
    ] = None
    sha256: Annotated[
        str | None, _says("of a file: the hash of the whole; null where one turn could not read it")
    ] = None
    parts_sha256: Annotated[
        str | None, _says("of a file: the SHA-256 over `SIZE SHA256`, a line for each part of its manifest")
    ] = None
    folder: Annotated[str | None, _says("of a file: where its manifest lies")] = None
    segments: Annotated[Maybe[int], _says("of a file off-site: the number of its segments")] = None
    key: Annotated[str | None, _says("of a file in S3: its object's key")] = None


class PointAnswer(Answer):
    """A recovery point."""

    id: Annotated[str, _says("the point's id")]
    service: Annotated[str, _says("the service it is of")]
    plan: Annotated[str, _says("the plan it was made under")]
    rule: Annotated[str, _says("the rule of the plan")]
    kind: Annotated[Kind, _says("snapshots, or the file of a service's script")]
    state: Annotated[
        PointState,
        WithJsonSchema({"type": "string", "enum": list(STATES_OF_POINTS)}),
        _says("where it stands"),
    ]
    nominal_at: Annotated[Moment, _says("when it was due")]
    created_at: Annotated[Moment, _says("when its data was taken")]
    source: Annotated[
        dict[str, Any],
        _says("what it was made of: instances, volumes, the scripts that put it back, remarks by volume"),
    ]
    size_bytes: Annotated[int, _says("its size")]
    reason: Annotated[str, _says("why it is in this state, where that needs saying")]
    artefacts: Annotated[tuple[ArtefactAnswer, ...], _says("one for each vault")]
    origin: Annotated[Origin, _says("what it was made for")]
    note: Annotated[Maybe[str], _says("the note of whoever asked for it")] = None
    keep_until: Annotated[Maybe[Moment], _says("until when it was asked to be kept")] = None
    hold: Annotated[Maybe[str], _says("why it is held, whatever its lifecycle says")] = None
    partial: Annotated[Maybe[bool], _says("that it lacks a part of its service")] = None
    left_out: Annotated[Maybe[tuple[str, ...]], _says("what it lacks")] = None
    suspect: Annotated[Maybe[str], _says("why it is doubted")] = None
    confirmed: Annotated[Maybe[str], _says("what an operator said to that")] = None
    copies_due: Annotated[
        Maybe[tuple[DueCopyAnswer, ...]], _says("copies that failed and are made again")
    ] = None


class PointPage(Answer):
    """A page of recovery points, newest first."""

    items: Annotated[tuple[PointAnswer, ...], _says("the recovery points")]
    cursor: Annotated[str | None, _says("what continues behind them; null on the last page")]


def point_answer(point: RecoveryPoint) -> PointAnswer:
    """Return a recovery point."""
    due = (
        DueCopyAnswer(vault=vault, tries=each.tries, next_try_at=each.at)
        for vault, each in sorted(point.due.items())
    )
    return PointAnswer(
        id=point.id,
        service=point.service,
        plan=point.plan,
        rule=point.rule,
        kind=point.kind,
        state=point.state,
        nominal_at=point.nominal_at,
        created_at=point.created_at,
        source={name: value for name, value in point.source.items() if name != "rule"},
        size_bytes=point.size_bytes,
        reason=point.reason,
        artefacts=tuple(_artefact_answer(artefact) for _, artefact in sorted(point.artefacts.items())),
        origin=point.origin,
        **present(
            note=point.note or None,
            keep_until=point.keep_until,
            hold=point.hold,
            partial=True if point.left_out else None,
            left_out=point.left_out or None,
            suspect=point.suspect if point.is_suspect else None,
            confirmed=point.confirmed,
            copies_due=tuple(due) or None,
        ),
    )


def _artefact_answer(artefact: Artefact) -> ArtefactAnswer:
    if artefact.snapshot_count:
        keys: dict[str, Any] = {
            "region": artefact.region,
            "snapshot_count": artefact.snapshot_count,
            "snapshot_ids": tuple(ref.id for ref in artefact.snapshots),
        }
    else:
        keys = {
            "sha256": artefact.sha256,
            "parts_sha256": artefact.parts_sha256,
            "folder": artefact.folder,
            **({"segments": artefact.segments} if artefact.segments else {"key": artefact.key}),
        }
    return ArtefactAnswer(
        vault=artefact.vault,
        state=artefact.state,
        verified_at=artefact.verified_at,
        reason=artefact.reason,
        **present(let_go_at=artefact.let_go_at),
        **keys,
    )


class RestoreWould(Answer):
    """What a restore would do."""

    reason: Annotated[str, _says("what is restored, from where and onto what")]
    method: Annotated[str, _says("`volume` or `service`")]
    recovery_point: Annotated[str, _says("the recovery point")]
    vault: Annotated[str, _says("the vault it is restored from")]
    target: Annotated[TargetAnswer, _says("where to")]
    region: Annotated[Maybe[str], _says("of volumes: their region")] = None
    folder: Annotated[str | None, _says("of a file: where its manifest lies")] = None
    key: Annotated[str | None, _says("of a file: its key; null for segments")] = None
    segments: Annotated[Maybe[int], _says("of a file: the number of its segments")] = None
    staging_vaults: Annotated[
        Maybe[tuple[str, ...]], _says("of segments: the vaults in which they may be put together")
    ] = None
    size_bytes: Annotated[Maybe[int], _says("of a file: its size")] = None
    sha256: Annotated[str | None, _says("of a file: the hash of the whole")] = None
    parts_sha256: Annotated[str | None, _says("of a file: the hash over its parts")] = None
    restore: Annotated[str | None, _says("the script that restores it")] = None
    verify: Annotated[str | None, _says("the script that has the last word")] = None
    timeout: Annotated[Maybe[str], _says("how long the scripts may take")] = None
    working_directory: Annotated[str | None, _says("where they run")] = None
    volume_count: Annotated[Maybe[int], _says("how many volumes are made")] = None
    volumes: Annotated[Maybe[tuple[VolumeAnswer, ...]], _says(f"the volumes, the first {VOLUMES_LISTED}")] = (
        None
    )


class RestorePreview(Answer):
    """The answer to a dry run of a restore."""

    jobs: Annotated[tuple[str, ...], _says("none")]
    would: Annotated[RestoreWould, _says("what would be done")]


class RestoreAnswer(JobsAnswer):
    """The answer to a restore."""

    volume_count: Annotated[Maybe[int], _says("how many volumes are made")] = None
    volumes: Annotated[Maybe[tuple[VolumeAnswer, ...]], _says(f"the volumes, the first {VOLUMES_LISTED}")] = (
        None
    )


def restore_answer(jobs: Sequence[str], request: AnyRequest, refs: Sequence[SnapshotRef]) -> RestoreAnswer:
    """Return the jobs of a restore, and the volumes they make."""
    return RestoreAnswer(jobs=tuple(jobs), **volume_keys(request.work, refs))


def restore_preview(
    planned: AnyRequest, refs: Sequence[SnapshotRef], rule: ServiceRule | None
) -> RestorePreview:
    """Return what a restore would do; `rule` has the scripts of a service."""
    keys: dict[str, Any] = {}
    match planned.work:
        case ServiceRestoreWork(artefact=artefact) as work:
            keys = {
                "folder": artefact.folder,
                "key": artefact.key,
                "segments": artefact.segments,
                "staging_vaults": tuple(work.staging_vaults),
                "size_bytes": work.size_bytes,
                "sha256": artefact.sha256,
                "parts_sha256": artefact.parts_sha256,
            }
        case VolumeRestoreWork(region=region):
            keys["region"] = region
    if rule is not None:
        keys |= {
            "restore": rule.restore,
            "verify": rule.verify,
            "timeout": render_duration(rule.timeout),
            "working_directory": rule.working_directory,
        }
    would = RestoreWould(
        reason=planned.reason,
        method=planned.method,
        **_work_keys(planned.work),
        **keys,
        **volume_keys(planned.work, refs),
    )
    return RestorePreview(jobs=(), would=would)


def volume_keys(
    work: Any, refs: Sequence[SnapshotRef], made: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the volumes that a restore makes of snapshots, the first of them one by one; `made` has the ids
    of those that are there, by their snapshots. Nothing for work of another kind.
    """
    if not isinstance(work, VolumeRestoreWork) or not refs:
        return {}
    wanted = wanted_by(work)
    listed = (
        _volume_answer(planned_volume(ref, wanted), (made or {}).get(ref.id)) for ref in refs[:VOLUMES_LISTED]
    )
    return {"volume_count": len(refs), "volumes": tuple(listed)}


def _volume_answer(planned: PlannedVolume, volume: str | None) -> VolumeAnswer:
    ref, spec = planned.ref, planned.spec
    return VolumeAnswer(
        snapshot=ref.id,
        source=VolumeSource(instance=ref.instance_id, device=ref.device, volume=ref.volume_id),
        size=spec.size_gib,
        type=spec.type,
        iops=spec.iops,
        throughput=spec.throughput,
        multi_attach=spec.multi_attach,
        differs=planned.differs,
        **present(volume=volume, remark=ref.remark or None),
    )


class FindingAnswer(Answer):
    """A difference between the catalog and the world."""

    finding: Annotated[FindingKind, _says("its kind")]
    what: Annotated[str, _says("an id, a key or a folder")]
    region: Annotated[Maybe[str], _says("the region it is in")] = None
    vault: Annotated[Maybe[str], _says("the vault it is in")] = None
    job: Annotated[Maybe[str], _says("the job it comes from")] = None
    recovery_point: Annotated[Maybe[str], _says("the recovery point it is about")] = None
    service: Annotated[Maybe[str], _says("the service it is about")] = None
    reason: Annotated[str, _says("why it is one")]
    since: Annotated[Moment, _says("when it was first seen")]
    last_seen: Annotated[Moment, _says("when it was last seen")]
    removed_after: Annotated[
        Moment | None,
        _says("an inventory removes it from then on, if an earlier one saw it too; null: only reported"),
    ]


class FindingPage(Answer):
    """A page of findings."""

    items: Annotated[tuple[FindingAnswer, ...], _says("the findings")]
    cursor: Annotated[str | None, _says("what continues behind them; null on the last page")]


def finding_answer(finding: Finding) -> FindingAnswer:
    """Return a difference between the catalog and the world."""
    return FindingAnswer(
        finding=finding.kind,
        what=finding.what,
        reason=finding.reason,
        since=finding.since,
        last_seen=finding.last_seen,
        removed_after=finding.removed_after,
        **present(
            region=finding.place.region,
            vault=finding.place.vault,
            job=finding.job or None,
            recovery_point=finding.point or None,
            service=finding.service or None,
        ),
    )


class RpoAnswer(Answer):
    """A service's RPO, as promised and as achieved."""

    objective: Annotated[str | None, _says("what the plan promises; null where it promises nothing")]
    achieved: Annotated[
        str | None,
        _says("the age of the newest point whose bytes were read back, and of which nothing is doubted"),
    ]
    met: Annotated[
        bool | None,
        _says("whether that is young enough, and every vault the plan names has a point as young"),
    ]


class StatusRow(Answer):
    """A rule's points of a service in one vault."""

    rule: Annotated[str, _says("the rule")]
    kind: Annotated[Kind, _says("its kind")]
    vault: Annotated[str, _says("the vault")]
    wanted: Annotated[bool, _says("whether the plan still wants points there; what it does not is kept")]
    points: Annotated[int, _says("how many can be restored from there")]
    newest_at: Annotated[Moment | None, _says("when the newest was made")]
    verified_at: Annotated[Moment | None, _says("when the newest verified one was made")]
    age: Annotated[str | None, _says("how old the newest is")]
    copies_due: Annotated[int, _says("how many copies failed and are made again")]


class FlaggedAnswer(Answer):
    """The last point of a rule, which is suspect or partial."""

    rule: Annotated[str, _says("the rule")]
    kind: Annotated[Kind, _says("its kind")]
    recovery_point: Annotated[str, _says("the point")]
    reason: Annotated[str, _says("what is wrong with it")]


class StatusAnswer(Answer):
    """How a service of a plan stands."""

    plan: Annotated[str, _says("the plan")]
    service: Annotated[str, _says("the service")]
    points: Annotated[dict[str, dict[str, int]], _says("how many points can be restored, by kind and vault")]
    newest_at: Annotated[Moment | None, _says("when the newest point was made")]
    rpo: Annotated[RpoAnswer, _says("the RPO as promised and as achieved")]
    rules: Annotated[tuple[StatusRow, ...], _says("each rule in each vault")]
    says: Annotated[
        tuple[str, ...], _says("sentences: runs that were missed, what is tried again and when, what is gone")
    ]
    flagged: Annotated[
        Maybe[tuple[FlaggedAnswer, ...]], _says("the last points of rules, where they are suspect or partial")
    ] = None


class StatusPage(Answer):
    """A page of services, by plan and name."""

    items: Annotated[tuple[StatusAnswer, ...], _says("the services")]
    cursor: Annotated[str | None, _says("what continues behind them; null on the last page")]
