"""What IAM asks for at calls to EC2.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html; launches:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ExamplePolicies_EC2.html#iam-example-runinstances; tags in
creating calls: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html; copies
and volumes ask for their source too,
https://aws.amazon.com/blogs/storage/enhancing-resource-level-permissions-for-copying-amazon-ebs-snapshots;
keys: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption-requirements.html.

The reference lists no `aws:ResourceTag` for the source of CopySnapshot, so there is none in its context. A
copy to be is `snapshot/*`, which a policy tells from sources as `snapshot/${*}` and `snapshot/snap-*`
(https://docs.aws.amazon.com/ebs/latest/userguide/security_iam_id-based-policy-examples.html).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.iam.models import iam_backends

from local_cloud.call import ACCOUNT, AwsError, Call
from local_cloud.services.ec2.launching import launch_template, merged
from local_cloud.services.ec2.snapshots import root_volume_id
from local_cloud.services.ec2.world import Region
from local_cloud.services.iam.conditions import Context
from local_cloud.services.iam.needs.rules import Rule, of_nothing, requested_tags, tags_as, use_of_key
from local_cloud.services.iam.policies import Need

NOT_OF_AN_ACCOUNT = ("image", "snapshot")
NEW = "*"


def arn_of(region: str, kind: str, id: str) -> str:
    """Return the ARN of a resource of EC2; some kinds name no account."""
    account = "" if kind in NOT_OF_AN_ACCOUNT else ACCOUNT
    return f"arn:aws:ec2:{region}:{account}:{kind}/{id}"


def existing(call: Call, kind: str, id: str | None, also: Context | None = None) -> Iterator[Need]:
    """Yield that a call needs something that is there, with the tags it has; nothing where there is none."""
    if id:
        tags = _backend(call).tags.get(id, {})
        context = {**tags_as("aws:ResourceTag", tags, "ec2:ResourceTag"), **(also or {})}
        arn = arn_of(call.region, kind, id)
        yield Need(f"ec2:{call.operation}", arn, context, is_there=_is_there(call, kind, id))


def making(call: Call, kind: str, tags: Mapping[str, str], also: Context | None = None) -> Iterator[Need]:
    """Yield that a call makes something, and if it has tags, the right to tag it in that call."""
    context, arn = {**requested_tags(tags), **(also or {})}, arn_of(call.region, kind, NEW)
    yield Need(f"ec2:{call.operation}", arn, context)
    if tags:
        yield Need("ec2:CreateTags", arn, {**context, "ec2:createaction": call.operation})


def tags_for(params: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return the tags that a call sets on a kind of resource."""
    return {
        tag["Key"]: tag.get("Value", "")
        for specification in params.get("TagSpecifications", ())
        if specification.get("ResourceType") == kind
        for tag in specification.get("Tags", ())
    }


def of_resources(**members: str) -> Rule:
    """Return the rule of a call that needs what its members name: the kind of resource by member."""

    def rule(call: Call) -> Iterator[Need]:
        for member, kind in members.items():
            named = call.params.get(member, ())
            for each in (named,) if isinstance(named, str) else named:
                yield from existing(call, kind, each)

    return rule


def of_snapshots(call: Call) -> Iterator[Need]:
    """CreateSnapshots: the instance, its volumes, and the snapshots to be."""
    specification = call.params.get("InstanceSpecification", {})
    instance_id = specification.get("InstanceId")
    yield from existing(call, "instance", instance_id)
    region = Region(ACCOUNT, call.region)
    reservation = region.reservation_of(instance_id)
    excluded = set(specification.get("ExcludeDataVolumeIds", ()))
    for instance in reservation.instances if reservation else ():
        if instance.id == instance_id:
            if specification.get("ExcludeBootVolume"):
                excluded.add(root_volume_id(instance))
            attached = {block.volume_id for _, block in instance.get_block_device_mapping}
            for volume in sorted(attached - excluded):
                yield from existing(call, "volume", volume)
    yield from making(call, "snapshot", tags_for(call.params, "snapshot"))


def of_one_snapshot(call: Call) -> Iterator[Need]:
    """CreateSnapshot: the volume, and the snapshot to be."""
    yield from existing(call, "volume", call.params.get("VolumeId"))
    yield from making(call, "snapshot", tags_for(call.params, "snapshot"))


def of_snapshot_copy(call: Call) -> Iterator[Need]:
    """CopySnapshot: the source, the copy to be, and the keys of both."""
    params = call.params
    source_id, source_region = params.get("SourceSnapshotId", ""), params.get("SourceRegion", call.region)
    source = Region(ACCOUNT, source_region).backend.snapshots.get(source_id)
    encrypted = bool(source and source.encrypted)
    about = {"ec2:owner": ACCOUNT, "ec2:encrypted": str(encrypted).lower()}
    yield Need("ec2:CopySnapshot", arn_of(source_region, "snapshot", source_id), about)
    yield from making(call, "snapshot", tags_for(params, "snapshot"))
    key = source.kms_key_id if source else None
    yield from use_of_key(source_region, key, "ec2", ("DescribeKey", "Decrypt", "ReEncryptFrom"), source_id)
    actions = ("DescribeKey", "CreateGrant", "GenerateDataKeyWithoutPlaintext", "ReEncryptTo")
    yield from use_of_key(call.region, params.get("KmsKeyId"), "ec2", actions, source_id)


def of_volume(call: Call) -> Iterator[Need]:
    """CreateVolume: the source snapshot with its tags, the volume to be, and the keys of both."""
    params = call.params
    source_id = params.get("SnapshotId")
    yield from existing(call, "snapshot", source_id)
    yield from making(call, "volume", tags_for(params, "volume"))
    source = _backend(call).snapshots.get(source_id)
    key = source.kms_key_id if source else None
    actions = ("DescribeKey", "CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext")
    yield from use_of_key(call.region, key, "ec2", actions, source_id or "")
    if params.get("KmsKeyId") not in (None, key):
        yield from use_of_key(
            call.region, params["KmsKeyId"], "ec2", (*actions, "ReEncryptTo"), source_id or ""
        )


def of_association(call: Call) -> Iterator[Need]:
    """AssociateAddress: the Elastic IP, and the instance or the network interface that gets it."""
    yield from existing(call, "elastic-ip", call.params.get("AllocationId"))
    yield from existing(call, "instance", call.params.get("InstanceId"))
    yield from existing(call, "network-interface", call.params.get("NetworkInterfaceId"))


def of_disassociation(call: Call) -> Iterator[Need]:
    """DisassociateAddress: the Elastic IP, and the network interface and the instance that have it."""
    named = call.params.get("AssociationId")
    for address in _backend(call).addresses:
        if address.association_id == named:
            yield from existing(call, "elastic-ip", address.allocation_id)
            yield from existing(call, "network-interface", address.eni and address.eni.id)
            return
    yield Need("ec2:DisassociateAddress", arn_of(call.region, "elastic-ip", "*"))


def of_detachment(call: Call) -> Iterator[Need]:
    """DetachNetworkInterface: the interface of the attachment, and its instance."""
    named = call.params.get("AttachmentId")
    for interface in _backend(call).enis.values():
        if interface.attachment_id == named:
            yield from existing(call, "network-interface", interface.id)
            yield from existing(call, "instance", interface.instance and interface.instance.id)
            return
    yield Need("ec2:DetachNetworkInterface", arn_of(call.region, "network-interface", "*"))


def of_launch(call: Call) -> Iterator[Need]:
    """RunInstances: the instances to be with their volumes and interfaces, all that they are made from by
    the request and its launch template, and the right to give them their role."""
    wanted, about = _launch(call)
    for kind in ("instance", "network-interface", "volume"):
        yield from making(call, kind, tags_for(wanted, kind), about)
    if tags := tags_for(wanted, "spot-instances-request"):
        context = {**requested_tags(tags), "ec2:createaction": call.operation}
        yield Need("ec2:CreateTags", arn_of(call.region, "spot-instances-request", NEW), context)
    for kind, ids in _made_from(call, wanted).items():
        for id in ids:
            yield from existing(call, kind, id, about)
    if role := _role_of(wanted.get("IamInstanceProfile", {})):
        yield Need("iam:PassRole", role, {"iam:passedtoservice": "ec2.amazonaws.com"})


def _launch(call: Call) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return the parameters of a launch on top of those of its template, and what the context says of it."""
    try:
        data, tags = launch_template(Region(ACCOUNT, call.region), call.params)
    except ServiceException as error:
        raise AwsError(error.code, error.message) from error
    if not tags:
        return call.params, {}
    template = tags["aws:ec2launchtemplate:id"]
    wanted = merged(data, call.params)
    return {**wanted, "LaunchTemplateId": template}, {
        "ec2:launchtemplate": arn_of(call.region, "launch-template", template)
    }


def _made_from(call: Call, wanted: Mapping[str, Any]) -> dict[str, Iterable[str | None]]:
    """Return by kind what a launch is made from; `*` is what EC2 chooses itself."""
    interfaces = wanted.get("NetworkInterfaces", ())
    subnets = [wanted.get("SubnetId"), *(each.get("SubnetId") for each in interfaces)]
    groups = [*wanted.get("SecurityGroupIds", ())]
    groups += [group for each in interfaces for group in each.get("Groups", ())]
    devices = [each.get("Ebs", {}) for each in wanted.get("BlockDeviceMappings", ())]
    return {
        "image": [wanted.get("ImageId")],
        "subnet": [each for each in subnets if each] or ["*"],
        "security-group": groups or ["*"],
        "network-interface": [each.get("NetworkInterfaceId") for each in interfaces],
        "key-pair": [wanted.get("KeyName")],
        "placement-group": [wanted.get("Placement", {}).get("GroupName")],
        "launch-template": [wanted.get("LaunchTemplateId")],
        "snapshot": [each.get("SnapshotId") for each in devices],
    }


def _role_of(profile: Mapping[str, str]) -> str | None:
    """Return the ARN of the role of an instance profile."""
    if not profile:
        return None
    name = profile.get("Name") or profile.get("Arn", "").rpartition("/")[2]
    for known in iam_backends[ACCOUNT]["aws"].instance_profiles.values():
        if known.name == name:
            return known.roles[0].arn if known.roles else None
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def _is_there(call: Call, kind: str, id: str) -> bool:
    """Return whether a volume, a snapshot or an instance exists; others are taken to."""
    region = Region(ACCOUNT, call.region)
    match kind:
        case "volume":
            return id in region.backend.volumes
        case "snapshot":
            return id in region.backend.snapshots
        case "instance":
            return region.reservation_of(id) is not None
    return True


def _backend(call: Call) -> Any:
    return Region(ACCOUNT, call.region).backend


LOOKS = (
    "DescribeAddresses",
    "DescribeAvailabilityZones",
    "DescribeImages",
    "DescribeInstanceStatus",
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeLaunchTemplateVersions",
    "DescribeLaunchTemplates",
    "DescribeNetworkInterfaces",
    "DescribeRegions",
    "DescribeSnapshots",
    "DescribeSubnets",
    "DescribeTags",
    "DescribeVolumes",
    "DescribeVpcs",
    "GetEbsDefaultKmsKeyId",
    "GetEbsEncryptionByDefault",
)
RULES: Mapping[str, Rule] = {
    **{each: of_nothing(f"ec2:{each}") for each in LOOKS},
    "AssociateAddress": of_association,
    "AttachNetworkInterface": of_resources(InstanceId="instance", NetworkInterfaceId="network-interface"),
    "AttachVolume": of_resources(VolumeId="volume", InstanceId="instance"),
    "CopySnapshot": of_snapshot_copy,
    "CreateSnapshot": of_one_snapshot,
    "CreateSnapshots": of_snapshots,
    "CreateVolume": of_volume,
    "DeleteSnapshot": of_resources(SnapshotId="snapshot"),
    "DeleteVolume": of_resources(VolumeId="volume"),
    "DetachNetworkInterface": of_detachment,
    "DetachVolume": of_resources(VolumeId="volume", InstanceId="instance"),
    "DisassociateAddress": of_disassociation,
    "RunInstances": of_launch,
    "StopInstances": of_resources(InstanceIds="instance"),
    "TerminateInstances": of_resources(InstanceIds="instance"),
}
