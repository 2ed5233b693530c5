"""An instance in service is a target of its group's target groups; any other is not.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-load-balancer-asg.html. Target groups may be
deleted before the group.
"""

from collections.abc import Sequence

from moto.elbv2.models import elbv2_backends

from local_cloud.passing import lock_of
from local_cloud.services.autoscaling.groups import Member
from local_cloud.services.elbv2 import LoadBalancers


class Targets:
    """The instances of groups, as targets."""

    def __init__(self, balancers: LoadBalancers) -> None:
        """Register with `balancers`."""
        self._balancers = balancers

    def register(self, member: Member, arns: Sequence[str] | None = None) -> None:
        """Make an instance a target, of all of its group's target groups or of some."""
        with lock_of("elbv2"):
            for arn in _existing(member, arns):
                self._balancers.register(member.group.where, arn, [{"Id": member.instance_id}])

    def deregister(self, member: Member, arns: Sequence[str] | None = None) -> None:
        """Let an instance be a target no more."""
        with lock_of("elbv2"):
            for arn in _existing(member, arns):
                self._balancers.deregister(member.group.where, arn, [{"Id": member.instance_id}])


def _existing(member: Member, arns: Sequence[str] | None) -> list[str]:
    where = member.group.where
    groups = elbv2_backends[where.account][where.name].target_groups
    return [arn for arn in (member.group.target_group_arns if arns is None else arns) if arn in groups]
