"""Whether EC2 has room for what is to run, and whether the account may run it; in EC2's words where not.

Quotas come first: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html (vCPUs of
what is pending or running). Then the zone must have room: a launch gets as many instances as there is room
for, if that is `MinCount` at least; one that names no zone gets a zone that has room.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/troubleshooting-launch.html

moto: has room for everything.
"""

from moto.ec2.models.instance_types import INSTANCE_TYPES

from local_cloud.call import AwsError
from local_cloud.control.capacity import Capacity
from local_cloud.services.ec2.world import Region

BUSY = ("pending", "running")


class Admission:
    """Admits launches and starts."""

    def __init__(self, capacity: Capacity) -> None:
        """Keep the limits of `capacity`."""
        self._capacity = capacity

    def choose_zone(self, region: Region, instance_type: str) -> str:
        """Return the first zone that has room, or the first one, where the request names none."""
        zones = sorted(zone.name for zone in region.backend.describe_availability_zones())
        roomy = (zone for zone in zones if self._capacity.free(zone, instance_type) != 0)
        return next(roomy, zones[0])

    def admit(self, region: Region, zone: str, instance_type: str, smallest: int, largest: int) -> int:
        """Return how many instances to launch, from `smallest` to `largest`; they are noted as launched.

        Raises:
            AwsError: a quota or the zone does not allow `smallest`.
        """
        largest = self._within_quota(region, instance_type, smallest, largest)
        free = self._capacity.free(zone, instance_type)
        count = largest if free is None else min(free, largest)
        if count < smallest:
            raise AwsError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you "
                f"requested ({zone}). Our system will be working on provisioning additional capacity.",
                500,
            )
        self._capacity.use(zone, instance_type, count)
        return count

    def _within_quota(self, region: Region, instance_type: str, smallest: int, largest: int) -> int:
        """Return how many of `largest` the quotas allow."""
        quota, most = self._capacity.quota(region.name), largest
        if quota.vcpus is None and quota.instances is None:
            return most
        busy = [each for each in region.backend.all_instances() if each.state in BUSY]
        if quota.instances is not None and len(busy) + smallest > quota.instances:
            raise AwsError(
                "InstanceLimitExceeded",
                f"You have requested more instances ({len(busy) + largest}) than your current instance limit "
                f"of {quota.instances} allows for the specified instance type.",
            )
        if quota.instances is not None:
            most = min(most, quota.instances - len(busy))
        used = sum(_vcpus(each.instance_type) for each in busy)
        if quota.vcpus is not None and used + smallest * _vcpus(instance_type) > quota.vcpus:
            raise AwsError(
                "VcpuLimitExceeded",
                f"You have requested more vCPU capacity than your current vCPU limit of {quota.vcpus} allows "
                "for the instance bucket that the specified instance type belongs to. Please visit "
                "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
            )
        if quota.vcpus is not None:
            most = min(most, (quota.vcpus - used) // _vcpus(instance_type))
        return most


def _vcpus(instance_type: str) -> int:
    """Return how many vCPUs a type has; one that is not known, one."""
    return int(INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo", {}).get("DefaultVCpus", 1))
