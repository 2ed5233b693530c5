"""Warm pools: how many instances a group keeps ready, and how a pool is shown. Pure.

A pool has what the group's largest prepared capacity leaves beyond the desired capacity, and its own minimum
at least.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-warm-pools.html,
create-warm-pool.html; API_PutWarmPool.html, API_DescribeWarmPool.html, API_DeleteWarmPool.html
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import AwsError
from local_cloud.services.autoscaling.groups import Group, Member

POOL_STATES = ("Stopped", "Running", "Hibernated")


def pool_size(group: Group) -> int:
    """Return how many instances the group's warm pool is to have."""
    pool = group.warm_pool
    if pool is None or group.pool_is_deleted:
        return 0
    prepared = pool.max_group_prepared_capacity
    if prepared is None or prepared < 0:
        prepared = group.max_size or 0
    return max(pool.min_size, prepared - (group.desired_capacity or 0))


def reuses(group: Group) -> bool:
    """Return whether an instance that is too much goes back to the warm pool."""
    pool = group.warm_pool
    if pool is None or group.pool_is_deleted:
        return False
    return bool((pool.instance_reuse_policy or {}).get("ReuseOnScaleIn"))


def check_pool(group: Group, params: Mapping[str, Any]) -> None:
    """Refuse a warm pool that AWS would not make."""
    if group.mixed_instances_policy:
        raise _invalid(
            "You can't add a warm pool to an Auto Scaling group that has a mixed instances policy."
        )
    if params.get("PoolState", "Stopped") not in POOL_STATES:
        raise _invalid(f"Invalid pool state. Valid values are {', '.join(POOL_STATES)}.")
    smallest, prepared = params.get("MinSize", 0), params.get("MaxGroupPreparedCapacity", -1)
    if smallest < 0 or prepared < -1:
        raise _invalid("MinSize must be 0 or more, MaxGroupPreparedCapacity -1 or more.")


def describe_pool(group: Group) -> Mapping[str, Any]:
    """Show a group's warm pool."""
    pool = group.warm_pool
    if pool is None:
        return {"Instances": []}
    configuration = {
        "MaxGroupPreparedCapacity": pool.max_group_prepared_capacity,
        "MinSize": pool.min_size,
        "PoolState": pool.pool_state,
        "Status": "PendingDelete" if group.pool_is_deleted else None,
        "InstanceReusePolicy": pool.instance_reuse_policy,
    }
    return {
        "WarmPoolConfiguration": {name: value for name, value in configuration.items() if value is not None},
        "Instances": [describe_member(member) for member in group.warm_members],
    }


def describe_member(member: Member) -> dict[str, Any]:
    """Show an instance of a group or a warm pool."""
    shown = {
        "InstanceId": member.instance_id,
        "InstanceType": member.instance_type,
        "AvailabilityZone": member.availability_zone,
        "LifecycleState": member.lifecycle_state,
        "HealthStatus": member.health_status,
        "LaunchConfigurationName": member.launch_configuration_name,
        "LaunchTemplate": member.launch_template,
        "ProtectedFromScaleIn": member.protected_from_scale_in,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
