"""The calls about warm pools and instance refreshes.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html, API_DescribeWarmPool.html,
API_DeleteWarmPool.html, API_StartInstanceRefresh.html, API_DescribeInstanceRefreshes.html,
API_CancelInstanceRefresh.html

moto: keeps a warm pool's configuration, and no instances; has no refreshes.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.autoscaling.groups import Group, group_of
from local_cloud.services.autoscaling.refresh_request import Refresh, describe_refresh, read_refresh
from local_cloud.services.autoscaling.requests import check_source
from local_cloud.services.autoscaling.scaling import Scaling
from local_cloud.services.autoscaling.warm_pools import check_pool, describe_pool
from local_cloud.services.autoscaling.world import World

REFRESHES_PER_PAGE = 50


class PoolCalls:
    """Answers calls about warm pools and instance refreshes."""

    def __init__(self, world: World, scaling: Scaling) -> None:
        """Have `scaling` see to the pools and refreshes."""
        self._world = world
        self._scaling = scaling

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "PutWarmPool": self._put_pool,
            "DescribeWarmPool": lambda call, _: describe_pool(group_of(call)),
            "DeleteWarmPool": self._delete_pool,
            "StartInstanceRefresh": self._start,
            "DescribeInstanceRefreshes": self._describe,
            "CancelInstanceRefresh": self._cancel,
        }

    def _put_pool(self, call: Call, pass_on: PassOn) -> None:
        group = group_of(call)
        check_pool(group, call.params)
        if group.pool_is_deleted:
            raise AwsError("ValidationError", "The warm pool of the Auto Scaling group is being deleted.")
        pass_on()
        self._scaling.look_at(group)

    def _delete_pool(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Delete a warm pool once its instances are terminated, by force at once."""
        group = group_of(call)
        if group.warm_pool is None:
            raise AwsError("ValidationError", f"No warm pool found for Auto Scaling group {group.name}.")
        group.pool_is_deleted = True
        if call.params.get("ForceDelete"):
            for member in list(group.warm_members):
                self._scaling.lifecycle.terminate_at_once(member)
        self._scaling.look_at(group)
        return {}

    def _start(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group = group_of(call)
        if active_refresh(group):
            raise AwsError(
                "InstanceRefreshInProgress",
                "An Instance Refresh is already in progress and blocks the execution of this Instance "
                "Refresh.",
            )
        warmup = int(group.health_check_grace_period or 0)
        refresh = read_refresh(group.name, call.params, warmup, self._world.now())
        check_source(group.where, refresh.desired)
        self._scaling.refreshes.begin(group, refresh)
        return {"InstanceRefreshId": refresh.id}

    def _cancel(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        group = group_of(call)
        if not (refresh := active_refresh(group)):
            raise AwsError(
                "ActiveInstanceRefreshNotFound",
                f"No in progress or pending Instance Refresh found for Auto Scaling group {group.name}",
            )
        self._scaling.refreshes.cancel(group, refresh)
        return {"InstanceRefreshId": refresh.id}

    def _describe(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Show a group's refreshes, the newest first."""
        ids = call.params.get("InstanceRefreshIds")
        found = [each for each in reversed(group_of(call).refreshes) if not ids or each.id in ids]
        first = int(call.params.get("NextToken", "0"))
        last = first + call.params.get("MaxRecords", REFRESHES_PER_PAGE)
        more = {"NextToken": str(last)} if len(found) > last else {}
        return {"InstanceRefreshes": [describe_refresh(each) for each in found[first:last]], **more}


def active_refresh(group: Group) -> Refresh | None:
    """Return the refresh of a group that goes on."""
    return next((each for each in group.refreshes if each.is_active), None)
