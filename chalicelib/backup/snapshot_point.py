"""The progress of a backup by snapshot, and its point: record and manifest. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

from chalicelib.backup.point import described, folder_of, point_without_artefacts
from chalicelib.backup.snapshot_sources import Source
from chalicelib.catalog.recovery_point import Artefact, PointState, RecoveryPoint, SnapshotRef, SnapshotSet
from chalicelib.jobs.job import Job
from chalicelib.jobs.point_manifest import INSTANCES_NAMED, snapshots_of, source_of_snapshots
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.work import INSTANCES_PER_JOB, BackupWork
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.manifest import Manifest

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """The progress of a backup by snapshot.

    The chosen instances and volumes, the snapshot of each volume, snapshots that were made twice or are not
    wanted, those of volumes that nobody had chosen and that are still to be judged, the parts opened (of a
    large one), the shards cleaned up; the volumes that could not be snapshotted because EC2 did not list
    them.
    """

    sources: tuple[Source, ...] | None = None
    made: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    spare: tuple[str, ...] = ()
    unlisted: Mapping[str, str] = field(default_factory=dict)
    removal: Removal = field(default_factory=Removal)
    described: bool = False
    parts_opened: int = 0
    shards_cleaned: int = 0
    left_out: tuple[str, ...] = ()


SnapshotJob = Job[BackupWork, SnapshotProgress]


def parts_of(work: BackupWork) -> int:
    """Return how many child jobs make a large point."""
    return -(-work.instance_count // INSTANCES_PER_JOB)


def refs_of(job: SnapshotJob) -> tuple[SnapshotRef, ...]:
    """Return the snapshots that a job has made, each with its source."""
    return tuple(
        SnapshotRef(
            id=job.progress.made[volume.id],
            volume_id=volume.id,
            size_gib=volume.size_gib,
            instance_id=source.instance,
            device=volume.device,
            type=volume.type,
            iops=volume.iops,
            throughput=volume.throughput,
            multi_attach=volume.multi_attach,
            remark=source.remark_on(volume),
        )
        for source in job.progress.sources or ()
        for volume in source.volumes
    )


def new_point(job: SnapshotJob, state: PointState, reason: str) -> RecoveryPoint:
    """Return the point without any artefact yet, or when it has failed."""
    return point_without_artefacts(job, state, asked_of(job), reason)


def asked_of(job: SnapshotJob) -> dict[str, Any]:
    """Return what a job is asked to make a point of, and the rule whose scripts put it back."""
    instances = list(job.work.instances)
    return {"instances": instances, "instance_count": job.work.instance_count, "rule": job.work.rule}


def whole_point(job: SnapshotJob, refs: tuple[SnapshotRef, ...], region: str) -> RecoveryPoint:
    """Return the finished point of a job that made all its snapshots itself."""
    instances = [source.instance for source in job.progress.sources or ()]
    source = {
        "instances": instances,
        "instance_count": len(instances),
        "rule": job.work.rule,
        "volumes": {ref.volume_id: ref.device for ref in refs},
        **_remarks(refs),
    }
    artefact = _artefact(job, SnapshotSet(region, len(refs), snapshots=refs))
    point = point_without_artefacts(job, PointState.AVAILABLE, source)
    lacking = (*job.work.left_out, *job.progress.left_out)
    return _finished(replace(point, left_out=lacking), artefact, refs)


def sharded_point(
    job: SnapshotJob, refs: Iterable[SnapshotRef], left_out: tuple[str, ...], region: str
) -> RecoveryPoint:
    """Return the finished point of a job whose children made its snapshots."""
    all_refs = tuple(refs)
    artefact = _artefact(job, SnapshotSet(region, len(all_refs), shards=parts_of(job.work)))
    point = replace(new_point(job, PointState.AVAILABLE, ""), left_out=left_out)
    return _finished(replace(point, source={**point.source, **_remarks(all_refs)}), artefact, all_refs)


def manifest_of(
    job: SnapshotJob, refs: Iterable[SnapshotRef], left_out: tuple[str, ...], region: str
) -> Manifest:
    """Return the manifest of a job's point, with all its snapshots."""
    listed = snapshots_of(refs, region)
    return Manifest(
        recovery_point=job.work.recovery_point,
        service=job.service,
        plan=job.plan,
        rule=job.rule,
        kind="snapshot",
        nominal_at=job.nominal_at,
        created_at=job.created_at,
        source=source_of_snapshots(job.work.instances, region),
        size_bytes=sum(each.size_gib for each in listed) * GIB,
        snapshots=listed,
        left_out=left_out,
        **described(job),
    )


def _remarks(refs: Iterable[SnapshotRef]) -> dict[str, dict[str, str]]:
    """Return the remarks on volumes that were not snapshotted as usual, for the point's source."""
    remarks = {ref.volume_id: ref.remark for ref in refs if ref.remark}
    return {"remarks": dict(islice(remarks.items(), INSTANCES_NAMED))} if remarks else {}


def _artefact(job: SnapshotJob, content: SnapshotSet) -> Artefact:
    return Artefact(PRIMARY, PointState.AVAILABLE, content, folder_of(job))


def _finished(point: RecoveryPoint, artefact: Artefact, refs: Iterable[SnapshotRef]) -> RecoveryPoint:
    size_bytes = sum(ref.size_gib for ref in refs) * GIB
    return replace(point, size_bytes=size_bytes, artefacts={PRIMARY: artefact})
