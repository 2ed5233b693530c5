"""What a group asks EC2 for when it launches an instance. Pure, but for what moto's groups hold.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-tagging.html: the group's own tag is
always there; a propagated tag decides over one of the launch template.
"""

from collections.abc import Iterator
from typing import Any

from moto.autoscaling.models import FakeLaunchConfiguration

from local_cloud.services.autoscaling.groups import Group


def launch_params(
    group: Group, zone: str, subnet_id: str | None, instance_type: str | None
) -> dict[str, Any]:
    """Return the RunInstances of one instance in a zone; `instance_type` overrides the template's."""
    params: dict[str, Any] = {"MinCount": 1, "MaxCount": 1}
    if subnet_id:
        params["SubnetId"] = subnet_id
    else:
        params["Placement"] = {"AvailabilityZone": zone}
    if template := template_of(group):
        params["LaunchTemplate"] = template
    else:
        params |= _of_configuration(group.launch_config)
    if instance_type:
        params["InstanceType"] = instance_type
    if tags := group.get_propagated_tags():
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        params["TagSpecifications"] = [{"ResourceType": "instance", "Tags": listed}]
    return params


def template_of(group: Group) -> dict[str, str] | None:
    """Return the launch template with the version that a launch takes now."""
    template = group.ec2_launch_template
    if template is None:
        return None
    return {
        "LaunchTemplateId": template.id,
        "Version": str(template.get_version(group.launch_template_version).number),
    }


def named_template(group: Group) -> dict[str, str] | None:
    """Return the launch template of a group's new instance, as its description shows it."""
    template = template_of(group)
    return template and {**template, "LaunchTemplateName": group.ec2_launch_template.name}  # type: ignore[union-attr]


def places(group: Group) -> list[tuple[str, str | None]]:
    """Return the zones and subnets to launch in, the emptiest zone first, else in the group's order.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-availability-zone-balanced.html
    """
    counted = [member.availability_zone for member in group.members if member.is_counted]
    return sorted(_places(group), key=lambda place: counted.count(place[0]))


def _places(group: Group) -> Iterator[tuple[str, str | None]]:
    if not group.vpc_zone_identifier:
        yield from ((zone, None) for zone in group.availability_zones)
        return
    ids = [each.strip() for each in group.vpc_zone_identifier.split(",")]
    for subnet in group.ec2_backend.describe_subnets(subnet_ids=ids):
        yield str(subnet.availability_zone), str(subnet.id)


def instance_types(group: Group) -> list[str | None]:
    """Return the types to try, in order: the overrides of a mixed instances policy, or what is configured."""
    policy: dict[str, Any] = group.mixed_instances_policy or {}
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", ())
    return [each["InstanceType"] for each in overrides if each.get("InstanceType")] or [None]


def _of_configuration(configuration: FakeLaunchConfiguration) -> dict[str, Any]:
    """Return what a launch configuration says, as RunInstances takes it."""
    groups = configuration.security_groups
    profile = configuration.iam_instance_profile
    params = {
        "ImageId": configuration.image_id,
        "InstanceType": configuration.instance_type,
        "KeyName": configuration.key_name,
        "UserData": configuration.user_data,
        "EbsOptimized": configuration.ebs_optimized or None,
        "SecurityGroupIds": [each for each in groups if each.startswith("sg-")],
        "SecurityGroups": [each for each in groups if not each.startswith("sg-")],
        "BlockDeviceMappings": [
            {name: value for name, value in each.items() if name in ("DeviceName", "Ebs", "NoDevice")}
            for each in configuration.block_device_mapping_dict or ()
        ],
        "IamInstanceProfile": profile and {"Arn" if profile.startswith("arn:") else "Name": profile},
    }
    return {name: value for name, value in params.items() if value}
