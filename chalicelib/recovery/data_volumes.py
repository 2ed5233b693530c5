"""Which volumes of a recovery point an instance gets, and whether it can have them. Pure.

A boot volume is never attached: an instance runs from its own.
"""

from collections.abc import Collection, Iterable

from chalicelib.aws.ec2 import Instance
from chalicelib.catalog.recovery_point import SnapshotRef

# Names that are reserved for the root volume; which of them it has differs by image.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html
ROOT_DEVICES = frozenset({"/dev/sda", "/dev/sda1", "/dev/xvda"})
NAMED = 3
AS_VOLUMES = "restore it as volumes, with an availability_zone as target"


def data_volumes(refs: Iterable[SnapshotRef], instance: Instance | None) -> tuple[SnapshotRef, ...]:
    """Return the snapshots of a point that an instance gets volumes of, by device."""
    own = {each.device for each in instance.volumes if each.boot} if instance else set[str]()
    roots = ROOT_DEVICES | own
    return tuple(sorted((ref for ref in refs if ref.device not in roots), key=lambda ref: ref.device))


def why_not_of_one(refs: Collection[SnapshotRef]) -> str | None:
    """Return why the data volumes of a point cannot be attached to one instance, and what to do."""
    if not refs:
        return f"it has no data volume, only boot volumes, which are not attached; {AS_VOLUMES}"
    nowhere = [ref.id for ref in refs if not ref.device]
    if nowhere:
        return f"no device is recorded for the volume of {nowhere[0]}; {AS_VOLUMES}"
    instances = sorted({ref.instance_id for ref in refs})
    if len(instances) == 1:
        return None
    more = f" and {len(instances) - NAMED} more" if len(instances) > NAMED else ""
    return (
        f"its data volumes are of {len(instances)} instances ({', '.join(instances[:NAMED])}{more}), and one "
        "instance cannot have those of several; name the service by a tag that differs between them "
        f"(`service: {{tag: KEY}}`), so that each has points of its own; or {AS_VOLUMES}"
    )


def taken_device(refs: Iterable[SnapshotRef], instance: Instance, own: Collection[str] = ()) -> str | None:
    """Return which device is taken on an instance by a volume that is none of the job's `own`, and what to
    do."""
    there = {_place(each.device): each for each in instance.volumes if each.volume_id not in own}
    for ref in refs:
        if found := there.get(_place(ref.device)):
            return (
                f"{ref.device} of {instance.id} is taken by {found.volume_id}; detach that one, or restore "
                "onto an instance that has nothing there"
            )
    return None


def _place(device: str) -> str:
    """Return the device that a name stands for: EC2 accepts `/dev/xvdf` beside `/dev/sdf`, and the instance
    then has one device for two volumes."""
    name = device.removeprefix("/dev/")
    return name.removeprefix("xvd").removeprefix("sd")
