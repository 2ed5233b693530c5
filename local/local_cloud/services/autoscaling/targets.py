"""An instance in service is a target of its group's target groups; any other is not.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/attach-load-balancer-asg.html. Target groups may be
deleted before the group.
"""

from moto.elbv2.models import ELBv2Backend, elbv2_backends

from local_cloud.passing import lock_of
from local_cloud.services.autoscaling.groups import Member


def register(member: Member) -> None:
    """Make an instance a target."""
    backend = _backend(member)
    with lock_of("elbv2"):
        for arn in member.group.target_group_arns:
            if group := backend.target_groups.get(arn):
                backend.register_targets(arn, [{"Id": member.instance_id, "Port": group.port}])


def deregister(member: Member) -> None:
    """Let an instance be a target no more."""
    backend = _backend(member)
    with lock_of("elbv2"):
        for arn in member.group.target_group_arns:
            if arn in backend.target_groups:
                backend.deregister_targets(arn, [{"Id": member.instance_id}])


def _backend(member: Member) -> ELBv2Backend:
    where = member.group.where
    return elbv2_backends[where.account][where.name]
