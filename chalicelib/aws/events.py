"""Reads AWS's completion events: what each one is about. Pure; the shapes are those of the AWS user guides.

- EBS: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
- EC2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html
- SSM: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GOING = ("stopping", "stopped", "shutting-down", "terminated")


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about: a `snapshot`, `volume`, `command`, or `instance` that goes, in a region."""

    kind: str
    region: str
    id: str


def subjects_of(event: Mapping[str, Any]) -> list[Subject]:
    """Return what an event is about; nothing for one that no job waits for."""
    detail: Mapping[str, Any] = event.get("detail", {})
    region = str(event.get("region", ""))
    match event.get("source"), event.get("detail-type"):
        case "aws.ec2", "EBS Snapshot Notification":
            return [Subject("snapshot", region, _id(detail["snapshot_id"]))]
        case "aws.ec2", "EBS Multi-Volume Snapshots Completion Status":
            return [Subject("snapshot", region, _id(each["snapshot_id"])) for each in detail["snapshots"]]
        case "aws.ec2", "EBS Volume Notification":
            return [Subject("volume", region, _id(arn)) for arn in _arns(event) if ":volume/" in arn]
        case "aws.ec2", "EC2 Instance State-change Notification" if detail["state"] in GOING:
            return [Subject("instance", region, str(detail["instance-id"]))]
        case "aws.ssm", "EC2 Command Invocation Status-change Notification":
            return [Subject("command", region, str(detail["command-id"]))]
    return []


def _id(arn: str) -> str:
    """Return the resource id at the end of an ARN, `arn:aws:ec2::us-west-2:snapshot/snap-01234567`, or an
    id as it is."""
    return arn.rsplit("/", 1)[-1]


def _arns(event: Mapping[str, Any]) -> Iterable[str]:
    return (str(arn) for arn in event.get("resources", ()))
