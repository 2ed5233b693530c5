"""The scene: two services on three instances in the home region, with their data and scripts."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from demo.files import MIB, Volume
from demo.ground import DR, HOME, DemoCloud
from demo.group import IMAGE, Group

SCRIPTS = Path(__file__).parent / "scripts" / "orders"
DEVICE = "/dev/sdf"
STARTUP = timedelta(seconds=10)


@dataclass(slots=True)
class Scene:
    """The instances by name, and the volumes whose files are followed, by volume id."""

    ground: DemoCloud
    instances: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    elastic_ip: str = ""
    """The allocation of the address that leads to the orders' instance."""

    @property
    def group(self) -> Group:
        """Return the group of the orders' instance."""
        return Group(self.ground)

    def build(self) -> None:
        """Launch the instances and put their data on them."""
        self.group.create(DEVICE)
        for name in ("files-1", "files-2"):
            self.instances[name] = launch(self.ground, HOME, name, {"app": "files"}, data_gib=2)
        self.ground.advance(STARTUP)
        [self.instances["orders-1"]] = self.group.states()
        self.group.add_hooks()
        self.elastic_ip = self.group.give_address(self.instances["orders-1"])
        install_scripts(self.directory("orders-1"))
        for seed, (name, files) in enumerate((("orders-1", 4), ("files-1", 40), ("files-2", 32))):
            volume = Volume(mount(self.directory(name)), seed)
            volume.fill(files, MIB)
            self.volumes[data_volume(self.ground, HOME, self.instances[name])] = volume

    def go_on_with(self, instance_id: str) -> None:
        """Follow the next instance of the orders; it fills its data volume anew, which has a cache."""
        gone = next(key for key, volume in self.volumes.items() if not volume.folder.exists())
        self.instances["orders-1"] = instance_id
        volume = Volume(mount(self.directory("orders-1")), self.volumes.pop(gone).seed)
        volume.fill(4, MIB)
        self.volumes[data_volume(self.ground, HOME, instance_id)] = volume

    def directory(self, name: str) -> Path:
        """Return the directory of an instance."""
        return self.ground.directory(self.instances[name])

    def pass_a_day(self, day: int) -> None:
        """Change the files a little."""
        for volume in self.volumes.values():
            volume.pass_a_day(day)

    def trees(self) -> dict[str, Mapping[str, str]]:
        """Return the contents of each volume now."""
        return {volume_id: dict(volume.tree) for volume_id, volume in self.volumes.items()}

    @property
    def size_bytes(self) -> int:
        """Measure the files on the data volumes."""
        return sum(
            file.stat().st_size
            for volume in self.volumes.values()
            for file in volume.folder.rglob("*")
            if file.is_file()
        )


def launch(ground: DemoCloud, region: str, name: str, tags: Mapping[str, str], *, data_gib: int = 0) -> str:
    """Launch an instance and return its id; with a data volume, unless `data_gib` is 0."""
    named = [{"Key": key, "Value": value} for key, value in {"Name": name, **tags}.items()]
    disks: list[dict[str, Any]] = (
        [{"DeviceName": DEVICE, "Ebs": {"VolumeSize": data_gib}}] if data_gib else []
    )
    answer = ground.client("ec2", region).run_instances(
        ImageId=IMAGE,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": named}],
        BlockDeviceMappings=disks,
    )
    return str(answer["Instances"][0]["InstanceId"])


def install_scripts(directory: Path) -> None:
    """Put the service's scripts, and the Python that they need, where its image has them."""
    for script in SCRIPTS.glob("*.sh"):
        shutil.copy(script, directory)
    tools = directory / "usr" / "local" / "bin"
    tools.mkdir(parents=True)
    (tools / "python3").symlink_to(Path(sys.executable).resolve())


def mount(directory: Path, device: str = DEVICE) -> Path:
    """Return the directory in which an instance has a volume."""
    return directory / "volumes" / device.removeprefix("/dev/")


def data_volume(ground: DemoCloud, region: str, instance_id: str) -> str:
    """Return the id of an instance's data volume."""
    answer = ground.client("ec2", region).describe_instances(InstanceIds=[instance_id])
    devices = answer["Reservations"][0]["Instances"][0]["BlockDeviceMappings"]
    return str(next(each["Ebs"]["VolumeId"] for each in devices if each["DeviceName"] == DEVICE))


def attach_abroad(ground: DemoCloud, volumes: Mapping[str, str]) -> dict[str, Path]:
    """Attach volumes of the DR region to a new instance; return where each can be read, by its key."""
    ec2 = ground.client("ec2", DR)
    zone = ec2.describe_volumes(VolumeIds=list(volumes.values()))["Volumes"][0]["AvailabilityZone"]
    instance = launch(ground, DR, "files-dr", {})
    ground.advance(STARTUP)
    places = {}
    for letter, (key, volume) in zip("fghij", volumes.items(), strict=False):
        device = f"/dev/sd{letter}"
        ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
        places[key] = mount(ground.directory(instance), device)
    if not zone.startswith(DR):
        raise ValueError(f"the volumes are in {zone}, not in {DR}")
    return places
