"""Reads AWS's completion events: what each one is about. Pure; the shapes are those of the AWS user guides.

- EBS: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
- SSM: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Subjects:
    """What a batch of events is about: snapshots and volumes by region, commands."""

    snapshots: dict[str, set[str]] = field(default_factory=dict)
    volumes: dict[str, set[str]] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)

    def add(self, event: Mapping[str, Any]) -> bool:
        """Take an event's subject in; say whether it is an event that jobs wait for."""
        detail: Mapping[str, Any] = event.get("detail", {})
        region = str(event.get("region", ""))
        match event.get("source"), event.get("detail-type"):
            case "aws.ec2", "EBS Snapshot Notification":
                self.snapshots.setdefault(region, set()).add(_id(detail["snapshot_id"]))
            case "aws.ec2", "EBS Multi-Volume Snapshots Completion Status":
                ids = (_id(each["snapshot_id"]) for each in detail["snapshots"])
                self.snapshots.setdefault(region, set()).update(ids)
            case "aws.ec2", "EBS Volume Notification":
                self.volumes.setdefault(region, set()).update(map(_id, _arns(event)))
            case "aws.ssm", "EC2 Command Invocation Status-change Notification":
                self.commands.add(str(detail["command-id"]))
            case _:
                return False
        return True


def _id(arn: str) -> str:
    """Return the resource id at the end of an ARN, `arn:aws:ec2::us-west-2:snapshot/snap-01234567`, or an
    id as it is."""
    return arn.rsplit("/", 1)[-1]


def _arns(event: Mapping[str, Any]) -> Iterable[str]:
    return (str(arn) for arn in event.get("resources", ()))
