"""Reads which resources AWS's completion events are about. Pure; shapes are those of the AWS user guides.

- EBS: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-cloud-watch-events.html
- EC2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html
- SSM: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

GOING = ("stopping", "stopped", "shutting-down", "terminated")
STATES_TOLD = ("running", "stopping")
# An event of our own, which travels as those of AWS's do: the rules name it, too.
ROUND_TRIP_SOURCE = "farshore.doctor"
ROUND_TRIP = "Farshore Round Trip"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about: a `snapshot`, `volume`, `command`, or ending `instance`, in a region.

    A `round trip` is an event of our own, sent from that region to see whether it arrives.
    """

    kind: str
    region: str
    id: str


def subjects_of(event: Mapping[str, Any]) -> list[Subject]:
    """Return what an event is about; nothing for an event that no job waits for."""
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
        case "farshore.doctor", "Farshore Round Trip":
            return [Subject("round trip", region, str(detail["token"]))]
    return []


def round_trip_detail(token: str) -> dict[str, str]:
    """Return what an event of our own says; `event` is what the rules ask completion events for."""
    return {"event": "roundTrip", "token": token}


def _id(arn: str) -> str:
    """Return the resource id at the end of an ARN, or an id unchanged.

    An ARN is, for example, `arn:aws:ec2::us-west-2:snapshot/snap-01234567`.
    """
    return arn.rsplit("/", 1)[-1]


def _arns(event: Mapping[str, Any]) -> Iterable[str]:
    return (str(arn) for arn in event.get("resources", ()))


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """What happens to an instance: `launch` or `terminate` at a lifecycle hook, `running`, or that it soon
    goes (`spot`, `rebalance`, `stopping`).

    With a hook, `group` and `hook` name it, `token` this one wait, and `to_warm_pool` says where a launched
    instance goes.
    """

    kind: str
    instance_id: str
    at: datetime
    group: str = ""
    hook: str = ""
    token: str = ""
    to_warm_pool: bool = False


def instance_event(event: Mapping[str, Any]) -> InstanceEvent | None:
    """Return what an event says of an instance; None for one that concerns no launch and no end.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-event-reference.html
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
    """
    detail: Mapping[str, Any] = event.get("detail", {})
    match event.get("source"), event.get("detail-type"):
        case "aws.autoscaling", "EC2 Instance-launch Lifecycle Action":
            return _at_hook("launch", event)
        case "aws.autoscaling", "EC2 Instance-terminate Lifecycle Action":
            return _at_hook("terminate", event)
        case "aws.ec2", "EC2 Instance State-change Notification" if detail["state"] in STATES_TOLD:
            return InstanceEvent(str(detail["state"]), str(detail["instance-id"]), _time(event))
        case "aws.ec2", "EC2 Spot Instance Interruption Warning":
            return InstanceEvent("spot", str(detail["instance-id"]), _time(event))
        case "aws.ec2", "EC2 Instance Rebalance Recommendation":
            return InstanceEvent("rebalance", str(detail["instance-id"]), _time(event))
    return None


def _at_hook(kind: str, event: Mapping[str, Any]) -> InstanceEvent:
    detail: Mapping[str, Any] = event["detail"]
    return InstanceEvent(
        kind,
        str(detail["EC2InstanceId"]),
        _time(event),
        group=str(detail["AutoScalingGroupName"]),
        hook=str(detail["LifecycleHookName"]),
        token=str(detail["LifecycleActionToken"]),
        to_warm_pool=detail.get("Destination") == "WarmPool",
    )


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(event["time"]))
