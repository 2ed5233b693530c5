"""What AWS shows of the things that a service needs around its instances: addresses, network interfaces, DNS
zones, target groups, and the disks that come with a type of instance. Nothing here changes anything.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_route53 import Route53Client

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html
TYPES_AT_ONCE = 100
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html: at most 200 values in one filter.
FILTER_VALUES = 200


@dataclass(frozen=True, slots=True)
class ElasticIp:
    """An Elastic IP address by its allocation, and the instance that has it, if one has."""

    allocation: str
    address: str
    instance_id: str | None = None


class Prerequisites:
    """Looks at the home region, and at Route 53, which has no region."""

    def __init__(
        self,
        ec2: "EC2Client",
        route53: "Callable[[], Route53Client]",
        elbv2: "Callable[[], ElasticLoadBalancingv2Client]",
    ) -> None:
        """Look with these clients; those of Route 53 and Elastic Load Balancing are made when first used."""
        self._ec2 = ec2
        self._route53 = route53
        self._elbv2 = elbv2
        self._region = ec2.meta.region_name

    def elastic_ips(self) -> tuple[ElasticIp, ...]:
        """Return the account's Elastic IP addresses; the answer has no pages."""
        with translated_errors("DescribeAddresses", None, self._region):
            answer = self._ec2.describe_addresses()
        return tuple(
            ElasticIp(each["AllocationId"], each.get("PublicIp", ""), each.get("InstanceId") or None)
            for each in answer["Addresses"]
            if "AllocationId" in each
        )

    def interfaces(self, ids: Iterable[str]) -> frozenset[str]:
        """Return those of the network interfaces that exist."""
        found: set[str] = set()
        for batch in in_batches(ids, FILTER_VALUES):
            with translated_errors("DescribeNetworkInterfaces", None, self._region):
                answer = self._ec2.describe_network_interfaces(
                    Filters=[{"Name": "network-interface-id", "Values": batch}]
                )
            found |= {each["NetworkInterfaceId"] for each in answer["NetworkInterfaces"]}
        return frozenset(found)

    def instance_stores(self, types: Iterable[str]) -> dict[str, int]:
        """Return the size in GB of the instance-store volumes of each of these types that has some."""
        found: dict[str, int] = {}
        for batch in in_batches(sorted(set(types)), TYPES_AT_ONCE):
            names: list[object] = list(batch)
            with translated_errors("DescribeInstanceTypes", None, self._region):
                answer = self._ec2.describe_instance_types(InstanceTypes=names)  # type: ignore[arg-type]
            for each in answer["InstanceTypes"]:
                if "InstanceStorageInfo" in each:
                    found[each["InstanceType"]] = each["InstanceStorageInfo"].get("TotalSizeInGB", 0)
        return found

    def require_zone(self, zone: str) -> None:
        """Check that a hosted zone of Route 53 exists.

        Raises:
            NotFound: there is none of this id.
        """
        with translated_errors("GetHostedZone", zone):
            self._route53().get_hosted_zone(Id=zone)

    def require_target_group(self, arn: str) -> None:
        """Check that a target group exists.

        Raises:
            NotFound: there is none of this ARN.
        """
        with translated_errors("DescribeTargetGroups", arn, self._region):
            self._elbv2().describe_target_groups(TargetGroupArns=[arn])
