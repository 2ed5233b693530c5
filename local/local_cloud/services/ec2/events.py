"""The events that EC2 and EBS put on the default bus, in their documented shapes. Pure.

EBS: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html (with that page's form
of snapshot ARNs, `arn:aws:ec2::<region>:snapshot/<id>`). Instances:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html,
spot-instance-termination-notices.html, rebalance-recommendations.html.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """When an action started and ended."""

    started_at: datetime
    ended_at: datetime

    def members(self) -> dict[str, str]:
        """Return the two members of an event for this."""
        return {"startTime": _time(self.started_at), "endTime": _time(self.ended_at)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one snapshot ended: `state` is `completed` or `error`, `source_arn` what it was taken of."""

    snapshot_id: str
    region: str
    source_arn: str
    state: str
    cause: str = ""

    @property
    def arn(self) -> str:
        """Return the snapshot's ARN."""
        return snapshot_arn(self.region, self.snapshot_id)


def snapshot_arn(region: str, snapshot_id: str) -> str:
    """Return a snapshot as EBS's events do."""
    return f"arn:aws:ec2::{region}:snapshot/{snapshot_id}"


def source_volume_arn(region: str, volume_id: str) -> str:
    """Return the volume of a snapshot as EBS's snapshot events do."""
    return f"arn:aws:ec2::{region}:volume/{volume_id}"


def snapshot_created(outcome: Outcome, span: Span) -> Event:
    """Return the end of a CreateSnapshot."""
    return _snapshot_notification("createSnapshot", outcome, span)


def snapshots_created(outcomes: Sequence[Outcome], span: Span) -> Event:
    """Return the end of a CreateSnapshots."""
    failed = next((outcome for outcome in outcomes if outcome.state != "completed"), None)
    return {
        "source": "aws.ec2",
        "detail-type": "EBS Multi-Volume Snapshots Completion Status",
        "resources": [outcome.arn for outcome in outcomes],
        "detail": {
            "event": "createSnapshots",
            "result": "failed" if failed else "succeeded",
            "cause": f"Snapshot {failed.snapshot_id} is in status {failed.state}" if failed else "",
            "request-id": "",
            **span.members(),
            "snapshots": [
                {"snapshot_id": outcome.arn, "source": outcome.source_arn, "status": outcome.state}
                for outcome in outcomes
            ],
        },
    }


def snapshot_copied(outcome: Outcome, span: Span, *, incremental: bool) -> Event:
    """Return the end of a CopySnapshot; belongs on the destination region's bus."""
    event = _snapshot_notification("copySnapshot", outcome, span)
    if outcome.state == "completed":
        event["detail"] |= {"incremental": str(incremental).lower(), "transferType": "standard"}
    return event


def volume_changed(
    account: str, region: str, volume_id: str, event: str, result: str, cause: str = ""
) -> Event:
    """Tell that a volume was created (`createVolume`, `available`, or `failed` with a cause), attached
    (`attachVolume`, `attached`) or deleted (`deleteVolume`, `deleted`)."""
    return {
        "source": "aws.ec2",
        "detail-type": "EBS Volume Notification",
        "resources": [f"arn:aws:ec2:{region}:{account}:volume/{volume_id}"],
        "detail": {"result": result, "cause": cause, "event": event, "request-id": str(uuid.uuid4())},
    }


def instance_changed(account: str, region: str, instance_id: str, state: str) -> Event:
    """Return an instance's new state."""
    return {
        "source": "aws.ec2",
        "detail-type": "EC2 Instance State-change Notification",
        "resources": [f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"],
        "detail": {"instance-id": instance_id, "state": state},
    }


def interruption_warned(zone: str, instance_id: str, action: str) -> Event:
    """Tell that EC2 will stop or terminate a Spot Instance in two minutes.

    The ARN has the zone in it, and no account, as on AWS.
    """
    return {
        "source": "aws.ec2",
        "detail-type": "EC2 Spot Instance Interruption Warning",
        "resources": [f"arn:aws:ec2:{zone}:instance/{instance_id}"],
        "detail": {"instance-id": instance_id, "instance-action": action},
    }


def rebalance_recommended(account: str, region: str, instance_id: str) -> Event:
    """Tell that a Spot Instance is at a higher risk of being interrupted."""
    return {
        "source": "aws.ec2",
        "detail-type": "EC2 Instance Rebalance Recommendation",
        "resources": [f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"],
        "detail": {"instance-id": instance_id},
    }


def _snapshot_notification(name: str, outcome: Outcome, span: Span) -> Event:
    return {
        "source": "aws.ec2",
        "detail-type": "EBS Snapshot Notification",
        "resources": [outcome.arn],
        "detail": {
            "event": name,
            "result": "succeeded" if outcome.state == "completed" else "failed",
            "cause": outcome.cause,
            "request-id": "",
            "snapshot_id": outcome.arn,
            "source": outcome.source_arn,
            **span.members(),
        },
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
