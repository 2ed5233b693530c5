"""Elastic Load Balancing: targets that are checked before they are healthy, and drain before they are gone.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (states
and reasons), API_RegisterTargets.html, API_DeregisterTargets.html, API_DescribeTargetHealth.html

moto: keeps target groups and their targets; all are healthy at once, and gone at once, even what never was.
Added: `initial` for one health check, `draining` for the group's delay, targets that must exist and run.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from moto.elbv2.models import FakeTargetGroup, elbv2_backends

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.control.clock import Clock
from local_cloud.services.ec2.world import Region

SINCE = "Since"
"""When a target was registered, or deregistered, in moto's notes of it."""
DELAY = "deregistration_delay.timeout_seconds"
Target = Mapping[str, Any]


class LoadBalancers:
    """The target groups of every account and region."""

    service = "elbv2"

    def __init__(self, clock: Clock) -> None:
        """Check and drain on `clock`."""
        self._clock = clock

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "RegisterTargets": self._register,
            "DeregisterTargets": self._deregister,
            "DescribeTargetHealth": self._describe_health,
        }

    def register(self, region: Region, arn: str, targets: Sequence[Target]) -> None:
        """Make instances or addresses targets; one that is a target already stays what it is."""
        group = target_group(region, arn)
        for target in targets:
            _check(region, group, target["Id"])
        for target in targets:
            if target["Id"] not in group.targets:
                group.targets[target["Id"]] = {
                    "Id": target["Id"],
                    "Port": target.get("Port", group.port),
                    SINCE: self._clock.now(),
                }
            group.deregistered_targets.pop(target["Id"], None)

    def deregister(self, region: Region, arn: str, targets: Sequence[Target]) -> None:
        """Let targets drain; what is no target is left alone."""
        group = target_group(region, arn)
        for target in targets:
            if gone := group.targets.pop(target["Id"], None):
                group.deregistered_targets[target["Id"]] = gone | {SINCE: self._clock.now()}

    def _register(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        self.register(Region.of(call), call.params["TargetGroupArn"], call.params["Targets"])
        return {}

    def _deregister(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        self.deregister(Region.of(call), call.params["TargetGroupArn"], call.params["Targets"])
        return {}

    def _describe_health(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Show the health of the targets that are named, or of all that there are, also those that drain."""
        region = Region.of(call)
        group = target_group(region, call.params["TargetGroupArn"])
        draining = {id: each for id, each in group.deregistered_targets.items() if self._drains(group, each)}
        ended = [id for id in group.targets if _state(region, id) in (None, "terminated")]
        known = {**draining, **{id: each for id, each in group.targets.items() if id not in ended}}
        named = call.params.get("Targets") or [{"Id": id} for id in known]
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": each["Id"], "Port": known.get(each["Id"], {}).get("Port", group.port)},
                    "HealthCheckPort": group.health_check_port,
                    "TargetHealth": self._health(region, group, each["Id"], draining=each["Id"] in draining),
                }
                for each in named
            ]
        }

    def _health(self, region: Region, group: FakeTargetGroup, id: str, *, draining: bool) -> dict[str, str]:
        target = group.targets.get(id)
        state = _state(region, id)
        if draining:
            return _because(
                "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
            )
        if target is None or state in (None, "shutting-down", "terminated"):
            return _because("unused", "Target.NotRegistered", "Target is not registered to the target group")
        if state not in ("running", "address"):
            return _because("unused", "Target.InvalidState", "Target is in the stopped state")
        checked_after = timedelta(seconds=int(group.health_check_interval_seconds))
        if self._clock.now() - target[SINCE] < checked_after:
            return _because("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
        return {"State": "healthy"}

    def _drains(self, group: FakeTargetGroup, target: Target) -> bool:
        delay = timedelta(seconds=int(str(group.attributes[DELAY])))
        return bool(self._clock.now() - target[SINCE] < delay)


def target_group(region: Region, arn: str) -> FakeTargetGroup:
    """Return a target group.

    Raises:
        AwsError: there is none.
    """
    group = elbv2_backends[region.account][region.name].target_groups.get(arn)
    if group is None:
        raise AwsError("TargetGroupNotFound", "One or more target groups not found")
    return group


def _check(region: Region, group: FakeTargetGroup, id: str) -> None:
    """Refuse an instance that cannot be a target."""
    if group.target_type != "instance":
        return
    state = _state(region, id)
    if state is None or not id.startswith("i-"):
        raise AwsError("InvalidTarget", f"The following targets are not valid instances: '{id}'")
    if state != "running":
        raise AwsError(
            "InvalidTarget",
            f"The following targets are not in a running state and cannot be registered: '{id}'",
        )


def _state(region: Region, id: str) -> str | None:
    """Return the state of the instance that a target is; None where there is no such instance."""
    if not id.startswith("i-"):
        return "address"
    reservation = region.reservation_of(id)
    found = [each for each in reservation.instances if each.id == id] if reservation else []
    return str(found[0].state) if found else None


def _because(state: str, reason: str, description: str) -> dict[str, str]:
    return {"State": state, "Reason": reason, "Description": description}
