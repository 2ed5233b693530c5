"""Restores volumes from a recovery point's snapshots, in the region in which the chosen vault keeps them.

Invariant: CreateVolume carries a client token made of the job and the snapshot, so one restore makes each
volume once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chalicelib.aws.ec2 import Ec2, Volume
from chalicelib.catalog.job import (
    LOST_EVENT_AFTER,
    Decision,
    Do,
    Finish,
    Job,
    JobState,
    Wait,
    fingerprint,
    may_have_been_made,
)
from chalicelib.catalog.recovery_point import TAG_JOB, TAG_SOURCE, point_tags


@dataclass(frozen=True, slots=True)
class Seen:
    """The volumes that carry this job's tag, by the snapshot they were made of."""

    volumes: Mapping[str, Volume]


@dataclass(frozen=True, slots=True)
class Create:
    """Make a volume of one snapshot."""

    snapshot: str


@dataclass(frozen=True, slots=True)
class VolumeRestore:
    """Restores volumes; `ec2` gives EC2 by its region."""

    ec2: Callable[[str], Ec2]

    def observe(self, job: Job) -> Seen:
        """Look for the job's volumes by their tag."""
        if not job.intents:
            return Seen({})
        volumes = self.ec2(job.work["region"]).volumes_tagged(TAG_JOB, job.id)
        return Seen({volume.tags[TAG_SOURCE]: volume for volume in volumes})

    def decide(self, job: Job, seen: Seen, now: datetime) -> Decision[Create]:
        """Make each volume, wait until all are available."""
        if "error" in job.progress:
            return self.give_up(job, str(job.progress["error"]), now)
        made: Mapping[str, str] = job.progress.get("made", {})
        for snapshot in job.work["snapshots"]:
            if snapshot not in made:
                return Do(Create(snapshot), f"making a volume of {snapshot}", _intent(snapshot))
        states = {volume: _state(job, seen, snapshot, now) for snapshot, volume in made.items()}
        broken = sorted(
            volume for volume, state in states.items() if state in ("error", "deleting", "deleted", "gone")
        )
        if broken:
            return self.give_up(job, f"EC2 could not make {', '.join(broken)}", now)
        pending = sorted(volume for volume, state in states.items() if state not in ("available", "in-use"))
        if pending:
            return Wait(now + LOST_EVENT_AFTER, f"waiting for {', '.join(pending)}")
        return Finish(JobState.COMPLETED, f"restored {', '.join(sorted(states))}")

    def act(self, job: Job, action: Create, until: datetime) -> Mapping[str, Any]:
        """Call CreateVolume."""
        target = job.work["target"]
        tags = point_tags(job.work["recovery_point"], job.id, job.service, job.plan, job.rule)
        volume = self.ec2(job.work["region"]).create_volume(
            action.snapshot,
            target["availability_zone"],
            size_gib=target.get("size"),
            type=target.get("type"),
            tags={**tags, TAG_SOURCE: action.snapshot},
            client_token=fingerprint(job.id, action.snapshot),
        )
        return {"made": {**job.progress.get("made", {}), action.snapshot: volume.id}}

    def give_up(self, job: Job, reason: str, now: datetime) -> Finish:
        """End; volumes that were made stay, and the reason names them."""
        made = ", ".join(job.progress.get("made", {}).values())
        return Finish(
            JobState.FAILED, f"{reason}; made before that and left there: {made}" if made else reason
        )


def _intent(snapshot: str) -> str:
    return f"CreateVolume of {snapshot}"


def _state(job: Job, seen: Seen, snapshot: str, now: datetime) -> str:
    """Tell how a volume stands; EC2 takes one away again that it cannot decrypt, and says so in an event
    alone.

    https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
    """
    volume = seen.volumes.get(snapshot)
    if volume:
        return volume.state
    return "not visible yet" if may_have_been_made(job, _intent(snapshot), now) else "gone"
