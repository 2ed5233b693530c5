"""Keeps the bytes of volumes: a volume is a directory, and an instance's directory is its root volume.

A volume is at `ebs/volumes/<id>`. While it is attached it is in the instance's directory, at
`volumes/<device without /dev/>`, as if it were mounted there, and `ebs/volumes/<id>` is a link to it; a
root volume is the instance's directory itself, without `volumes`. Invariant: `ebs/volumes/<id>` leads to
the bytes as long as the volume exists.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from local_cloud.services.ec2.contents import Contents, Source, Tree

MOUNTS = "volumes"
"""The folder of an instance's directory where its data volumes appear."""


class Disks:
    """The directories of volumes and instances below one root."""

    def __init__(self, root: Path, contents: Contents) -> None:
        """Keep them below `root`, in folders made when first needed, and their snapshots in `contents`."""
        self._volumes = root / "ebs" / "volumes"
        self._instances = root / "instances"
        self._contents = contents

    def create(self, volume_id: str, tree: Tree | None) -> None:
        """Create a volume's directory, empty or with the contents of `tree`."""
        (self._volumes / volume_id).mkdir(parents=True)
        if tree:
            self._contents.materialise(tree.id, self._volumes / volume_id)

    def delete(self, volume_id: str) -> None:
        """Delete the directory of a volume that is not attached."""
        shutil.rmtree(self._volumes / volume_id, ignore_errors=True)

    def path(self, volume_id: str) -> Path:
        """Return the directory that has a volume's bytes now."""
        return (self._volumes / volume_id).resolve()

    def capture(self, volume_ids: Sequence[str]) -> list[Tree]:
        """Capture a tree of each volume's bytes, all at one instant."""
        places = [self.path(volume_id) for volume_id in volume_ids]
        return self._contents.capture(
            [Source(place, without=(MOUNTS,) if self._is_root(place) else ()) for place in places]
        )

    def instance(self, instance_id: str) -> Path:
        """Return an instance's directory."""
        return self._instances / instance_id

    def attach(self, volume_id: str, instance_id: str, device: str, *, root: bool) -> None:
        """Attach a volume in the instance's directory; what is there already stays."""
        home = self._volumes / volume_id
        place = (
            self.instance(instance_id) if root else self.instance(instance_id) / MOUNTS / folder_of(device)
        )
        if place.exists():
            shutil.copytree(home, place, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(home)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            home.rename(place)
        home.symlink_to(place.resolve())

    def detach(self, volume_id: str) -> None:
        """Detach a volume from its instance's directory; if the folder was removed, it is empty."""
        home = self._volumes / volume_id
        place = self.path(volume_id)
        home.unlink()
        if not place.is_dir():
            home.mkdir()
            return
        place.rename(home)
        if self._is_root(place):
            place.mkdir()
            if (home / MOUNTS).is_dir():
                (home / MOUNTS).rename(place / MOUNTS)

    def remove_instance(self, instance_id: str) -> None:
        """Delete an instance's directory; its volumes are detached by now."""
        shutil.rmtree(self.instance(instance_id), ignore_errors=True)

    def clear(self) -> None:
        """Delete every volume and every instance's directory."""
        for folder in (self._volumes, self._instances):
            shutil.rmtree(folder, ignore_errors=True)

    def _is_root(self, place: Path) -> bool:
        return place.parent == self._instances.resolve()


def folder_of(device: str) -> str:
    """Return the folder in which a device appears."""
    return device.removeprefix("/dev/")
