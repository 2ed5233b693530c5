"""Jobs as the API answers them. Pure; the keys are a contract (docs/api.md)."""

from collections.abc import Sequence
from typing import Annotated, Any

from chalicelib.catalog.recovery_point import Origin, SnapshotRef
from chalicelib.catalog.values import Answer, Moment, present, says
from chalicelib.insight.volume_answers import (
    VOLUMES_LISTED,
    TargetAnswer,
    VolumeAnswer,
    volume_keys,
    work_keys,
)
from chalicelib.jobs.job import AnyJob, JobKind, JobState
from chalicelib.plans.declared import Maybe


class Judged(Answer):
    """What an expire job decided of a recovery point in one vault."""

    recovery_point: Annotated[str, says("the point")]
    vault: Annotated[str, says("the vault")]
    keep: Annotated[bool, says("whether it is kept there")]
    reason: Annotated[str, says("why")]


class JobAnswer(Answer):
    """A job."""

    id: Annotated[str, says("the job's id")]
    kind: Annotated[JobKind, says("what it is for")]
    method: Annotated[str, says("how that is done, such as `snapshot` or `service`")]
    state: Annotated[JobState, says("its state; the last three are final")]
    service: Annotated[str, says("the service that it is about")]
    plan: Annotated[str, says("the plan it was opened under")]
    rule: Annotated[str, says("the rule of the plan")]
    nominal_at: Annotated[Moment, says("when it was due, or requested")]
    created_at: Annotated[Moment, says("when it was opened")]
    updated_at: Annotated[Moment, says("when it last made progress")]
    deadline: Annotated[Moment, says("when it fails if it has not ended by then")]
    reason: Annotated[str, says("what it waits for, what it did, or what failed, on what, and why")]
    late: Annotated[bool, says("whether it is a run that was caught up")]
    parent: Annotated[Maybe[str], says("the job it is a part of")] = None
    parts: Annotated[Maybe[int], says("how many child jobs it has")] = None
    left: Annotated[Maybe[tuple[str, ...]], says("what it made and could not remove")] = None
    superseded: Annotated[
        Maybe[int], says("how many earlier due runs this backup replaces that never began")
    ] = None
    error: Annotated[Maybe[str], says("the error it failed with")] = None
    recovery_point: Annotated[Maybe[str], says("the recovery point it makes or works on")] = None
    vault: Annotated[Maybe[str], says("the vault it works in")] = None
    region: Annotated[Maybe[str], says("the region that an inventory is about")] = None
    origin: Annotated[Maybe[Origin], says("what a backup was opened by")] = None
    note: Annotated[Maybe[str], says("the note of the person who requested a backup")] = None
    target: Annotated[Maybe[TargetAnswer], says("where a restore goes")] = None
    instance_id: Annotated[Maybe[str], says("the instance its script runs on")] = None
    command_id: Annotated[Maybe[str], says("the SSM command its script runs as")] = None
    said: Annotated[Maybe[str], says("the last 2,000 characters of the output of scripts that succeeded")] = (
        None
    )
    made: Annotated[
        Maybe[dict[str, str]],
        says(
            "the snapshots or volumes it made, by what they are of; or the zones of instances, by their ids"
        ),
    ] = None
    suspect: Annotated[Maybe[str], says("why the point it makes is suspect")] = None
    judged: Annotated[
        Maybe[tuple[Judged, ...]],
        says("what an expire job decided: every deletion, and the first 500 points that are kept"),
    ] = None
    volume_count: Annotated[Maybe[int], says("how many volumes a restore makes")] = None
    volumes: Annotated[Maybe[tuple[VolumeAnswer, ...]], says(f"its volumes, the first {VOLUMES_LISTED}")] = (
        None
    )


class JobPage(Answer):
    """A page of jobs, newest first."""

    items: Annotated[tuple[JobAnswer, ...], says("the jobs")]
    cursor: Annotated[str | None, says("the cursor of the next page; null on the last page")]


class JobsAnswer(Answer):
    """The jobs that were opened."""

    jobs: Annotated[tuple[str, ...], says("their ids, for `GET /jobs/{job_id}`")]


def job_answer(job: AnyJob, refs: Sequence[SnapshotRef] = ()) -> JobAnswer:
    """Return a job, as the API answers it; `refs` are the snapshots it restores."""
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
        **work_keys(job.work),
        **_progress_keys(job.progress),
        **volume_keys(job.work, refs, getattr(job.progress, "made", {})),
    )


def _progress_keys(progress: Any) -> dict[str, Any]:
    """Return the part of a job's progress that is shown."""
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
