"""EC2 and EBS: resources that take time, have contents and limits, and are listed page by page.

An instance is a directory, a volume is a directory, a snapshot is a tree of one. One module per kind of
thing: `instances` (with `launching`, `admission` and `instance_listing`), `volumes` (with `volume_types` and
`volume_listing`), `snapshots` (with `snapshot_states` and `snapshot_listing`), `copies`, `images`,
`addresses`, `interfaces`, `interruptions`; below them
`disks` and `contents` keep the bytes, `events` has the shapes, `filters` and `tags` the rules of the calls,
`world` the time and the regions. `buckets` throttles all calls.

AWS: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Welcome.html.
moto: keeps the resources, and answers every operation that no module here names.
Added: states that last, the EventBridge events of their changes, contents, quotas, owners, exclusions,
filters, pages, dry runs, listings that lag.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, CloudContext, Handler, PassOn
from local_cloud.services.ec2.addresses import Addresses
from local_cloud.services.ec2.admission import Admission
from local_cloud.services.ec2.contents import Contents
from local_cloud.services.ec2.copies import Copies
from local_cloud.services.ec2.disks import Disks
from local_cloud.services.ec2.images import Images
from local_cloud.services.ec2.instance_listing import InstanceListing
from local_cloud.services.ec2.instances import Instances
from local_cloud.services.ec2.interfaces import Interfaces
from local_cloud.services.ec2.interruptions import Interruptions
from local_cloud.services.ec2.snapshot_listing import SnapshotListing, not_yet_complete
from local_cloud.services.ec2.snapshot_states import SnapshotStates
from local_cloud.services.ec2.snapshots import Snapshots
from local_cloud.services.ec2.volume_listing import VolumeListing
from local_cloud.services.ec2.volumes import Volumes
from local_cloud.services.ec2.world import Region, World
from local_cloud.services.lag import Listing, lagging

LISTINGS = {
    "DescribeInstances": Listing(
        ("Reservations", "Instances"), "InstanceId", "LaunchTime", "InstanceIds", "InvalidInstanceID.NotFound"
    ),
    "DescribeVolumes": Listing(("Volumes",), "VolumeId", "CreateTime", "VolumeIds", "InvalidVolume.NotFound"),
    "DescribeSnapshots": Listing(
        ("Snapshots",), "SnapshotId", "StartTime", "SnapshotIds", "InvalidSnapshot.NotFound", not_yet_complete
    ),
}


class Ec2:
    """EC2 and EBS of one cloud, all its accounts and regions."""

    service = "ec2"

    def __init__(self, ground: CloudContext) -> None:
        """Build on `ground`; the bytes are below its root."""
        world = World(ground)
        self._now = ground.clock.now
        self._contents = Contents(ground.root / "ebs")
        self._disks = Disks(ground.root, self._contents)
        states = SnapshotStates()
        self._volumes = Volumes(world, self._disks, states)
        self._snapshots = Snapshots(world, self._disks, self._contents, states)
        self._instances = Instances(world, self._volumes, self._disks, Admission(ground.capacity))
        self.interruptions = Interruptions(world, self._instances)
        """What takes Spot Instances back."""
        self._addresses, self._interfaces = Addresses(), Interfaces(world)
        self._instances.on_ended.append(self._let_go)
        self._parts = (
            self._instances,
            InstanceListing(),
            self._volumes,
            VolumeListing(self._volumes.state),
            self._snapshots,
            SnapshotListing(world, states),
            Copies(world, self._contents, states, self._snapshots),
            Images(self._snapshots),
            self._addresses,
            self._interfaces,
        )

    @property
    def on_running(self) -> list[Callable[[str, str], None]]:
        """The functions to call, with region and instance id, when an instance runs."""
        return self._instances.on_running

    @property
    def on_gone(self) -> list[Callable[[str, str], None]]:
        """The functions to call, with region and instance id, when an instance stops or terminates."""
        return self._instances.on_gone

    @property
    def on_state(self) -> list[Callable[[str, str, str], None]]:
        """Whom to tell, with region and instance id, of every new state of an instance."""
        return self._instances.on_state

    @property
    def instances(self) -> Instances:
        """What launches and ends instances, for other services that do; hold the lock of EC2."""
        return self._instances

    def handlers(self) -> Mapping[str, Handler]:
        """Return all operations that are not moto's alone."""
        handlers = {name: handler for part in self._parts for name, handler in part.handlers().items()}
        for operation, listing in LISTINGS.items():
            handlers[operation] = lagging(handlers[operation], listing, self._now)
        return {operation: in_our_words(handler) for operation, handler in handlers.items()}

    def directory(self, instance_id: str) -> Path:
        """Return an instance's directory."""
        return self._disks.instance(instance_id)

    def directories(self) -> dict[str, Path]:
        """Return the directory of every instance that is not terminated, by id."""
        return self._instances.directories()

    def instance_state(self, account: str, region: str, instance_id: str) -> str | None:
        """Return an instance's state, None where there is no such instance."""
        return self._instances.state(account, region, instance_id)

    def volume_directory(self, volume_id: str) -> Path:
        """Return the directory that has a volume's bytes now."""
        return self._disks.path(volume_id)

    def fail(self, resource_id: str, reason: str) -> None:
        """Make the next snapshot or copy that is, or is made of, `resource_id` end in error."""
        self._snapshots.fail(resource_id, reason)

    def spoil(self, operation: str, snapshot_id: str, reason: str) -> None:
        """Make what is about to be made of a snapshot end in error: a volume by CreateVolume, or a copy."""
        (self._volumes if operation == "CreateVolume" else self._snapshots).fail(snapshot_id, reason)

    def _let_go(self, region: Region, instance: Instance) -> None:
        """Free what a terminated instance had of the network."""
        self._addresses.instance_ended(region, instance)
        self._interfaces.instance_ended(instance)

    def reset(self) -> None:
        """Forget everything, and delete all bytes; moto's resources are moto's to reset."""
        for part in (self._instances, self._volumes, self._snapshots, self._disks, self._contents):
            part.clear()


def in_our_words(handler: Handler) -> Handler:
    """Return a dry run before `handler` does anything; make moto's errors ours."""

    def handle(call: Call, pass_on: PassOn) -> Mapping[str, Any] | None:
        if call.params.get("DryRun"):
            message = "Request would have succeeded, but DryRun flag is set."
            raise AwsError("DryRunOperation", message, 412)
        try:
            return handler(call, pass_on)
        except ServiceException as exc:
            raise AwsError(exc.code, exc.message) from exc

    return handle
