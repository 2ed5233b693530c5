"""What moto does not record of snapshots: their contents, when they complete, and how they ended.

A snapshot that moto has and this table has not (one that CopyImage made, for instance) is complete and empty.
"""

from dataclasses import dataclass
from datetime import datetime

from moto.ec2.models.elastic_block_store import Snapshot

from local_cloud.call import AwsError
from local_cloud.services.ec2.contents import Tree
from local_cloud.services.ec2.events import snapshot_arn, source_volume_arn
from local_cloud.services.ec2.world import Region

COPIES_VOLUME = "vol-ffffffff"
"""The volume id that copies show; "an arbitrary source volume ID. Do not use this volume ID for any purpose."
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html"""


@dataclass(frozen=True, slots=True)
class VolumeOfCopies:
    """What a copy's record of moto's shows as its volume; it is in no list of volumes."""

    size: int
    id: str = COPIES_VOLUME


@dataclass(slots=True)
class SnapshotState:
    """One snapshot; `source_id` is its volume, or the snapshot it is a copy of.

    `lineage` is the volume that the first snapshot of the line was taken of.
    """

    region: Region
    snapshot: Snapshot
    source_id: str
    lineage: str
    tree: Tree | None
    started_at: datetime
    due_at: datetime
    copied_from: Region | None = None
    ended_at: datetime | None = None
    message: str = ""
    deleted: bool = False

    @property
    def id(self) -> str:
        """Return the snapshot's id."""
        return str(self.snapshot.id)

    @property
    def state(self) -> str:
        """Return `pending`, `completed` or `error`."""
        return str(self.snapshot.status)

    @property
    def source_arn(self) -> str:
        """Return what it was taken of, as EBS's events do."""
        if self.copied_from:
            return snapshot_arn(self.copied_from.name, self.source_id)
        return source_volume_arn(self.region.name, self.source_id)

    @property
    def unfinished(self) -> bool:
        """Return whether it counts against its volume's limit: pending, in error, deleted in progress."""
        return self.state != "completed" or (self.deleted and not self.ended_at)

    def progress(self, now: datetime) -> str:
        """Return how far it is, as a percentage; the last one is reached on completion only."""
        if self.state == "completed":
            return "100%"
        whole = (self.due_at - self.started_at).total_seconds()
        done = (now - self.started_at).total_seconds() / whole if whole else 1.0
        return f"{min(99, int(100 * done))}%"


class SnapshotStates:
    """The table, by snapshot id."""

    def __init__(self) -> None:
        """Begin with none."""
        self._states: dict[str, SnapshotState] = {}
        self._unfinished: dict[Region, list[SnapshotState]] = {}

    def add(self, state: SnapshotState) -> None:
        """Add a snapshot."""
        self._states[state.id] = state
        self._unfinished.setdefault(state.region, []).append(state)

    def remove(self, snapshot_id: str) -> SnapshotState | None:
        """Remove a snapshot, and return its record."""
        return self._states.pop(snapshot_id, None)

    def get(self, snapshot_id: str) -> SnapshotState | None:
        """Return what is known of a snapshot."""
        return self._states.get(snapshot_id)

    def tree(self, snapshot_id: str) -> Tree | None:
        """Return the contents of a snapshot."""
        state = self._states.get(snapshot_id)
        return state.tree if state else None

    def of(self, region: Region) -> list[SnapshotState]:
        """Return those of a region."""
        return [state for state in self._states.values() if state.region == region]

    def unfinished(self, region: Region) -> list[SnapshotState]:
        """Return those of a region that count against the limits of their volumes."""
        left = [
            state
            for state in self._unfinished.get(region, ())
            if state.unfinished and self._states.get(state.id) is state
        ]
        self._unfinished[region] = left
        return left

    def clear(self) -> None:
        """Forget all."""
        self._states.clear()
        self._unfinished.clear()


def snapshot_in(region: Region, snapshot_id: str) -> Snapshot:
    """Return a snapshot of the region.

    Raises:
        AwsError: there is none.
    """
    if not snapshot_id.startswith("snap-"):
        raise AwsError(
            "InvalidParameterValue",
            f"Value ({snapshot_id}) for parameter snapshotId is invalid. Expected: 'snap-...'.",
        )
    snapshot = region.backend.snapshots.get(snapshot_id)
    if snapshot is None:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
    return snapshot


def usable_snapshot(region: Region, snapshot_id: str) -> Snapshot:
    """Return a snapshot that is complete, as its use needs it to be."""
    snapshot = snapshot_in(region, snapshot_id)
    if snapshot.status != "completed":
        raise AwsError("IncorrectState", f"Snapshot is in invalid state - {snapshot.status}")
    return snapshot
