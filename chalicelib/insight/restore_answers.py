"""Restores, as the API answers them: their jobs, or what would be done. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any

from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.catalog.values import Answer, says
from chalicelib.insight.job_answers import JobsAnswer
from chalicelib.insight.point_answers import content_keys
from chalicelib.insight.volume_answers import (
    VOLUMES_LISTED,
    TargetAnswer,
    VolumeAnswer,
    volume_keys,
    work_keys,
)
from chalicelib.jobs.job import AnyRequest
from chalicelib.jobs.work import AttachedRestoreWork, ServiceRestoreWork, VolumeRestoreWork
from chalicelib.plans.declared import Maybe
from chalicelib.plans.durations import render_duration
from chalicelib.plans.model import Rule

_VolumeCount = Annotated[Maybe[int], says("how many volumes are made")]
_Volumes = Annotated[Maybe[tuple[VolumeAnswer, ...]], says(f"the volumes, the first {VOLUMES_LISTED}")]


class RestoreWould(Answer):
    """What a restore would do."""

    reason: Annotated[str, says("what is restored, from where and onto what")]
    method: Annotated[str, says("`volume`, `attached` or `service`")]
    recovery_point: Annotated[str, says("the recovery point")]
    vault: Annotated[str, says("the vault it is restored from")]
    target: Annotated[TargetAnswer, says("where to")]
    region: Annotated[Maybe[str], says("of volumes: their region")] = None
    folder: Annotated[str | None, says("of a file: the folder with its manifest")] = None
    key: Annotated[Maybe[str], says("of a file that is one object: its key")] = None
    segments: Annotated[Maybe[int], says("of a file: the number of its segments")] = None
    staging_vaults: Annotated[
        Maybe[tuple[str, ...]], says("of segments: the vaults in which they may be assembled")
    ] = None
    size_bytes: Annotated[Maybe[int], says("of a file: its size")] = None
    sha256: Annotated[str | None, says("of a file: the hash of the whole")] = None
    parts_sha256: Annotated[str | None, says("of a file: the hash over its parts")] = None
    restore: Annotated[
        str | None, says("the script that restores it, or mounts the volumes; null: there is none")
    ] = None
    verify: Annotated[str | None, says("the script that proves it; null: nothing is proven")] = None
    timeout: Annotated[Maybe[str], says("how long the scripts may take")] = None
    working_directory: Annotated[str | None, says("where they run")] = None
    volume_count: _VolumeCount = None
    volumes: _Volumes = None


class RestorePreview(Answer):
    """The answer to a dry run of a restore."""

    jobs: Annotated[tuple[str, ...], says("none")]
    would: Annotated[RestoreWould, says("what would be done")]


class RestoreAnswer(JobsAnswer):
    """The answer to a restore."""

    volume_count: _VolumeCount = None
    volumes: _Volumes = None


def restore_answer(jobs: Sequence[str], request: AnyRequest, refs: Sequence[SnapshotRef]) -> RestoreAnswer:
    """Return the jobs of a restore, and the volumes they make."""
    return RestoreAnswer(jobs=tuple(jobs), **volume_keys(request.work, refs))


def restore_preview(planned: AnyRequest, refs: Sequence[SnapshotRef], rule: Rule | None) -> RestorePreview:
    """Return what a restore would do; `rule` has the scripts that it runs."""
    keys: dict[str, Any] = {}
    match planned.work:
        case ServiceRestoreWork(artefact=artefact) as work:
            keys = {
                **content_keys(artefact),
                "staging_vaults": tuple(work.staging_vaults),
                "size_bytes": work.size_bytes,
            }
        case AttachedRestoreWork(region=region) | VolumeRestoreWork(region=region):
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
        **work_keys(planned.work),
        **keys,
        **volume_keys(planned.work, refs),
    )
    return RestorePreview(jobs=(), would=would)
