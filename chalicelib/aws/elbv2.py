"""Target groups of Elastic Load Balancing: which instances they have, registering and deregistering them.

Invariant: registering what is registered and deregistering what is not changes nothing.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import TargetDescriptionTypeDef

# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
_LEAVING = ("draining", "unhealthy.draining")


@dataclass(frozen=True, slots=True)
class Target:
    """An instance of a target group at a port; None is the group's own port."""

    instance_id: str
    port: int | None = None


class TargetGroups:
    """Target groups of the home region."""

    def __init__(self, client: "ElasticLoadBalancingv2Client") -> None:
        self._client = client

    @property
    def _region(self) -> str:
        return self._client.meta.region_name

    def targets(self, group: str) -> tuple[Target, ...]:
        """Return the targets of a group, healthy or not; those that are leaving it are left out.

        Raises:
            NotFound: there is no such target group.
        """
        with translated_errors("DescribeTargetHealth", group, self._region):
            answer = self._client.describe_target_health(TargetGroupArn=group)
        return tuple(
            Target(each["Target"]["Id"], each["Target"].get("Port"))
            for each in answer["TargetHealthDescriptions"]
            if each["TargetHealth"]["State"] not in _LEAVING
        )

    def register(self, group: str, targets: Iterable[Target]) -> None:
        """Register instances, which have to run.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RegisterTargets.html
        """
        with translated_errors("RegisterTargets", group, self._region):
            self._client.register_targets(TargetGroupArn=group, Targets=list(map(_described, targets)))

    def deregister(self, group: str, targets: Iterable[Target]) -> None:
        """Let no new request go to these targets; those under way are ended by the group's own delay.

        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
        """
        with translated_errors("DeregisterTargets", group, self._region):
            self._client.deregister_targets(TargetGroupArn=group, Targets=list(map(_described, targets)))


def _described(target: Target) -> "TargetDescriptionTypeDef":
    if target.port is None:
        return {"Id": target.instance_id}
    return {"Id": target.instance_id, "Port": target.port}
