"""What is wrong with a request about a group, in AWS's words; moto would take it, or break.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html,
API_UpdateAutoScalingGroup.html, API_SetDesiredCapacity.html, API_AttachInstances.html
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from moto.autoscaling.models import autoscaling_backends

from local_cloud.call import AwsError
from local_cloud.services.autoscaling.groups import Group, Member, groups_of, member_of
from local_cloud.services.ec2.world import Region


def invalid(message: str) -> AwsError:
    """Return the error that most refusals are."""
    return AwsError("ValidationError", message)


def check_creation(region: Region, params: Mapping[str, Any]) -> None:
    """Refuse a group that AWS would not make."""
    name = params["AutoScalingGroupName"]
    if any(group.name == name for group in groups_of(region)):
        raise AwsError(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
        )
    check_sizes(params["MinSize"], params["MaxSize"], params.get("DesiredCapacity"))
    check_source(region, params)


def check_sizes(smallest: int, largest: int, desired: int | None) -> None:
    """Refuse bounds that cannot be kept."""
    if smallest < 0:
        raise invalid(f"Min bound, {smallest}, must be greater than or equal to 0")
    if largest < smallest:
        raise invalid(f"Max bound, {largest}, must be greater than or equal to min bound, {smallest}")
    if desired is not None and not smallest <= desired <= largest:
        raise invalid(
            f"Desired capacity:{desired} must be between the specified min size:{smallest} and max "
            f"size:{largest}"
        )


def check_update(group: Group, params: Mapping[str, Any]) -> None:
    """Refuse a change that AWS would not make."""
    smallest, largest = params.get("MinSize", group.min_size), params.get("MaxSize", group.max_size)
    check_sizes(smallest, largest, params.get("DesiredCapacity"))
    check_source(group.where, params)


def check_desired(group: Group, desired: int) -> None:
    """Refuse a capacity beyond the bounds."""
    if desired > (group.max_size or 0):
        raise invalid(
            f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the "
            "AutoScalingGroup."
        )
    if desired < (group.min_size or 0):
        raise invalid(
            f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the "
            "AutoScalingGroup."
        )


def check_source(region: Region, params: Mapping[str, Any]) -> None:
    """Refuse what instances could not be launched from or in."""
    backend = autoscaling_backends[region.account][region.name]
    name = params.get("LaunchConfigurationName")
    if name and name not in backend.launch_configurations:
        raise invalid(f"Launch configuration name not found - Launch configuration {name} not found")
    policy = params.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    if template := params.get("LaunchTemplate") or policy.get("LaunchTemplateSpecification"):
        _check_template(region, template)
    zones = {zone.name for zone in region.backend.describe_availability_zones()}
    if unknown := [zone for zone in params.get("AvailabilityZones", ()) if zone not in zones]:
        raise invalid(f"Invalid availability zones: [{', '.join(unknown)}]")
    for subnet_id in filter(None, params.get("VPCZoneIdentifier", "").split(",")):
        if not any(subnet_id.strip() in subnets for subnets in region.backend.subnets.values()):
            raise invalid(f"The subnet ID '{subnet_id.strip()}' does not exist")


def _check_template(region: Region, named: Mapping[str, str]) -> None:
    """Refuse a launch template that does not exist, in that version."""
    by = "LaunchTemplateId" if "LaunchTemplateId" in named else "LaunchTemplateName"
    if len({"LaunchTemplateId", "LaunchTemplateName"} & named.keys()) != 1:
        raise invalid("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    name_of = attrgetter("id" if by == "LaunchTemplateId" else "name")
    found = [each for each in region.backend.launch_templates.values() if name_of(each) == named[by]]
    if not found:
        raise invalid(
            "You must use a valid fully-formed launch template. The specified launch template, with "
            f"{by} {named[by]}, does not exist."
        )
    version = named.get("Version", "$Default")
    if version not in ("$Default", "$Latest", *(str(each.number) for each in found[0].versions)):
        raise invalid(
            f"You must use a valid fully-formed launch template. The specified launch template version "
            f"{version} does not exist."
        )


def members_named(group: Group, instance_ids: Sequence[str]) -> list[Member]:
    """Return a group's instances by id.

    Raises:
        AwsError: one is not in the group.
    """
    found = {member.instance_id: member for member in group.members}
    if missing := [each for each in instance_ids if each not in found]:
        raise invalid(f"The instance {missing[0]} is not part of Auto Scaling group {group.name}.")
    return [found[each] for each in instance_ids]


def managed(region: Region, instance_id: str) -> Member:
    """Return an instance of any group.

    Raises:
        AwsError: it is in none.
    """
    if member := member_of(groups_of(region), instance_id):
        return member
    raise invalid(f"Instance Id not found - No managed instance found for instance ID {instance_id}")


def check_decrement(group: Group, by: int) -> None:
    """Refuse to take instances out for good where the group would be too small."""
    if (group.desired_capacity or 0) - by < (group.min_size or 0):
        raise invalid(
            f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
            "replacement will violate group's min size constraint. Either set shouldDecrementDesiredCapacity "
            "flag to false or lower group's min size."
        )
