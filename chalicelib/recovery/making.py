"""Makes volumes of a point's snapshots, for every restore that does, and tells how they stand.

Invariant: CreateVolume carries a client token made of the job and the snapshot, so one restore makes each
volume once; a call whose answer was lost is made again and answers with the same volume.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from chalicelib.aws.ec2 import Ec2, Volume, VolumeSpec
from chalicelib.catalog.recovery_point import TAG_SOURCE, SnapshotRef, point_tags
from chalicelib.ids import fingerprint
from chalicelib.jobs.job import ADOPTION_GRACE, CLOCK_SKEW, AnyJob

BROKEN = ("error", "deleting", "deleted", "gone")


def make_volume(ec2: Ec2, job: AnyJob, ref: SnapshotRef, zone: str, spec: VolumeSpec) -> Volume:
    """Make the job's volume of a snapshot; made again, it is the same one."""
    tags = point_tags(job.work.recovery_point, job.id, job.service, job.plan, job.rule)
    return ec2.create_volume(
        ref.id,
        zone,
        spec,
        tags={**tags, TAG_SOURCE: ref.id, **ref.source_tags},
        client_token=fingerprint(job.id, ref.id),
    )


def state_of(volume: Volume | None, made_at: datetime | None, now: datetime) -> str:
    """Return how a recorded volume stands; EC2 takes one away again that it cannot decrypt, and says so in an
    event alone. Pure.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
    """
    if volume:
        return volume.state
    return "not visible yet" if now < (made_at or now) + ADOPTION_GRACE else "gone"


def made_unseen(
    job: AnyJob, refs: Iterable[SnapshotRef], made: Mapping[str, str], tagged: Iterable[Volume]
) -> dict[str, str]:
    """Return the volumes, by their snapshots, that calls of the job have made whose answer was lost. Pure.

    A tag finds candidates and proves nothing: a volume counts that was made since the job was opened, of a
    snapshot that the job wants, and that is the only one such.
    """
    wanted = {ref.id for ref in refs} - set(made)
    found: dict[str, list[str]] = {}
    for volume in tagged:
        new = volume.created_at is not None and volume.created_at >= job.created_at - CLOCK_SKEW
        if volume.snapshot_id in wanted and new:
            found.setdefault(volume.snapshot_id, []).append(volume.id)
    return {snapshot: volumes[0] for snapshot, volumes in found.items() if len(volumes) == 1}
