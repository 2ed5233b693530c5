"""Launches instances of one region from a launch template, ends them, and looks up what EC2 offers where.

Nothing here retries, paces or decides. Invariant: an instance is tagged in the call that launches it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib.aws.ec2_types import Instance, instance_from, tags_from
from chalicelib.aws.errors import translated_errors
from chalicelib.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import RunInstancesRequestTypeDef

DEFAULT_VERSION = "$Default"


@dataclass(frozen=True, slots=True)
class LaunchTemplate:
    """One version of a launch template, and the type of instance to launch with it: its own, or another."""

    id: str
    version: int
    instance_type: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where instances are launched: a subnet, or a zone; neither: where the launch template says."""

    zone: str = ""
    subnet: str = ""

    def __str__(self) -> str:
        if self.subnet:
            return f"{self.subnet} ({self.zone})"
        return self.zone or "where the launch template says"


@dataclass(frozen=True, slots=True)
class TemplateFound:
    """What a launch template has: its type of instance ("": none), the tags of its instances, and where it
    puts them: `subnet` or `zone`, or a network interface or a placement of its own (`is_placed`)."""

    id: str
    version: int
    instance_type: str
    tags: Mapping[str, str]
    subnet: str = ""
    zone: str = ""
    is_placed: bool = False


class Ec2Launch:
    """Launches in `region`. `unretried` is a client with `retries=False`, `own` are tags of all instances."""

    def __init__(
        self, client: "EC2Client", region: str, *, unretried: "EC2Client", own: Mapping[str, str]
    ) -> None:
        self._client = client
        self._unretried = unretried
        self._own = own
        self.region = region

    def template(self, named: Mapping[str, str], version: str = DEFAULT_VERSION) -> TemplateFound:
        """Return a version of a launch template, which is named by `id` or by `name`. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html

        Raises:
            NotFound: there is no such template, or no such version of it.
        """
        which: Any = {f"LaunchTemplate{key.capitalize()}": value for key, value in named.items()}
        what = f"launch template {next(iter(named.values()))}, version {version}"
        with translated_errors("DescribeLaunchTemplateVersions", what, self.region):
            found = self._client.describe_launch_template_versions(Versions=[version], **which)
        if not found["LaunchTemplateVersions"]:
            raise NotFound("there is no such version", resource=what, region=self.region)
        first: Any = found["LaunchTemplateVersions"][0]
        data = first.get("LaunchTemplateData", {})
        placement = data.get("Placement", {})
        tags = {
            key: value
            for each in data.get("TagSpecifications", ())
            if each.get("ResourceType") == "instance"
            for key, value in tags_from(each.get("Tags", ())).items()
        }
        return TemplateFound(
            id=first["LaunchTemplateId"],
            version=int(first["VersionNumber"]),
            instance_type=data.get("InstanceType", ""),
            tags=tags,
            subnet=data.get("SubnetId", ""),
            zone=placement.get("AvailabilityZone", ""),
            is_placed=bool(data.get("NetworkInterfaces") or placement.keys() - {"AvailabilityZone"}),
        )

    def zones_of_subnets(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the zone of each subnet; those that do not exist are left out."""
        with translated_errors("DescribeSubnets", None, self.region):
            answer = self._client.describe_subnets(Filters=[{"Name": "subnet-id", "Values": list(ids)}])
        return {each["SubnetId"]: each["AvailabilityZone"] for each in answer["Subnets"]}

    def zones_offering(self, instance_type: str) -> tuple[str, ...]:
        """Return the zones in which EC2 offers a type of instance; none for an unknown type. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html"""
        with translated_errors("DescribeInstanceTypeOfferings", instance_type, self.region):
            answer = self._client.describe_instance_type_offerings(
                LocationType="availability-zone",
                Filters=[{"Name": "instance-type", "Values": [instance_type]}],
            )
        return tuple(sorted(each["Location"] for each in answer["InstanceTypeOfferings"]))

    def vcpus(self, instance_type: str) -> int:
        """Return how many vCPUs an instance of this type has by default."""
        kinds: list[Any] = [instance_type]
        with translated_errors("DescribeInstanceTypes", instance_type, self.region):
            answer = self._client.describe_instance_types(InstanceTypes=kinds)
        return sum(each["VCpuInfo"]["DefaultVCpus"] for each in answer["InstanceTypes"])

    def run(
        self, template: LaunchTemplate, place: Place, most: int, *, tags: Mapping[str, str], client_token: str
    ) -> tuple[Instance, ...]:
        """Launch as many instances as the place has room for, at least one and at most `most`.

        Idempotent: one `client_token` (at most 64 ASCII characters) launches once, and made again with the
        same parameters returns the same instances. Source:
        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html

        Raises:
            NoRoom: the place has none for even one.
            LimitReached: the account may run no more of them.
        """
        all_tags = {**tags, **self._own}
        request: RunInstancesRequestTypeDef = {
            "LaunchTemplate": {"LaunchTemplateId": template.id, "Version": str(template.version)},
            "MinCount": 1,
            "MaxCount": most,
            "ClientToken": client_token,
            "TagSpecifications": [
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": key, "Value": value} for key, value in sorted(all_tags.items())],
                }
            ],
        }
        kind: Any = template.instance_type
        request["InstanceType"] = kind
        if place.subnet:
            request["SubnetId"] = place.subnet
        elif place.zone:
            request["Placement"] = {"AvailabilityZone": place.zone}
        what = f"{most} x {template.instance_type} in {place}"
        with translated_errors("RunInstances", what, self.region):
            answer = self._unretried.run_instances(**request)
        return tuple(map(instance_from, answer["Instances"]))

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance; one that is gone is fine.

        Raises:
            Conflict: it is protected from termination.
        """
        try:
            with translated_errors("TerminateInstances", instance_id, self.region):
                self._client.terminate_instances(InstanceIds=[instance_id])
        except NotFound:
            return
