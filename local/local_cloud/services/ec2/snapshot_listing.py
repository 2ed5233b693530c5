"""DescribeSnapshots: snapshots by owner, filtered and page by page.

An account sees its own snapshots; none are shared with it here, so other owners, `amazon` included, have
none. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html

moto: ignores owners and pages.
Added: both, the documented filters, snapshots that are pending or in error.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.ec2.models.elastic_block_store import Snapshot

from local_cloud.call import Call, Handler, PassOn
from local_cloud.services.ec2.filters import (
    Field,
    by_id_and_tags,
    exact_values,
    member,
    page,
    passes,
    things_of,
)
from local_cloud.services.ec2.snapshot_states import SnapshotStates, snapshot_in
from local_cloud.services.ec2.tags import tags_of
from local_cloud.services.ec2.world import Region, World, aware

FIELDS: dict[str, Field] = {
    "description": member("Description"),
    "encrypted": member("Encrypted"),
    "owner-alias": member("OwnerAlias"),
    "owner-id": member("OwnerId"),
    "progress": member("Progress"),
    "snapshot-id": member("SnapshotId"),
    "start-time": member("StartTime"),
    "status": member("State"),
    "storage-tier": member("StorageTier"),
    "transfer-type": member("TransferType"),
    "volume-id": member("VolumeId"),
    "volume-size": member("VolumeSize"),
}


class SnapshotListing:
    """The snapshots of every account and region, to look at."""

    def __init__(self, world: World, states: SnapshotStates) -> None:
        """Show what moto and `states` know."""
        self._world = world
        self._states = states

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"DescribeSnapshots": self.describe_snapshots}

    def describe_snapshots(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Describe snapshots, filtered and paged; an id that does not exist is an error."""
        region = Region.of(call)
        filters = call.params.get("Filters", ())
        test, may_pass = passes(filters, FIELDS), by_id_and_tags(filters, FIELDS, "snapshot-id")
        owners = set(call.params.get("OwnerIds", ()))
        ids = dict.fromkeys(call.params.get("SnapshotIds", ()))
        chosen = (
            [snapshot_in(region, one) for one in ids]
            if ids
            else things_of(region.backend.snapshots, exact_values(filters, "snapshot-id"))
        )
        if owners and not owners & {"self", call.account}:
            chosen = []
        found, token = page(
            chosen,
            call.params,
            key=lambda snapshot: f"{aware(snapshot.start_time).isoformat()} {snapshot.id}",
            ids="snapshotSet" if ids else "",
        )
        backend = region.backend
        shown = [
            self._show(region, snapshot)
            for snapshot in found
            if may_pass({"SnapshotId": snapshot.id, "Tags": tags_of(backend, snapshot.id)})
        ]
        answer: dict[str, Any] = {"Snapshots": [snapshot for snapshot in shown if test(snapshot)]}
        return answer | ({"NextToken": token} if token else {})

    def _show(self, region: Region, snapshot: Snapshot) -> dict[str, Any]:
        state = self._states.get(snapshot.id)
        shown = {
            "SnapshotId": snapshot.id,
            "VolumeId": snapshot.volume_id,
            "VolumeSize": snapshot.volume_size,
            "Description": snapshot.description or "",
            "State": snapshot.status,
            "StateMessage": state.message if state and state.message else None,
            "Progress": state.progress(self._world.now()) if state else "100%",
            "StartTime": aware(snapshot.start_time),
            "CompletionTime": state.ended_at if state and snapshot.status == "completed" else None,
            "OwnerId": snapshot.owner_id,
            "Encrypted": snapshot.encrypted,
            "KmsKeyId": snapshot.kms_key_id,
            "StorageTier": snapshot.storage_tier,
            "TransferType": "standard" if state and state.copied_from else None,
            "FullSnapshotSizeInBytes": state.tree.size_bytes if state and state.tree else None,
            "Tags": tags_of(region.backend, snapshot.id) or None,
        }
        return {name: value for name, value in shown.items() if value is not None}


def not_yet_complete(snapshot: Mapping[str, Any], then: datetime) -> Mapping[str, Any]:
    """Return a snapshot as it was `then`: pending, if it was not complete."""
    if snapshot.get("CompletionTime", then) <= then:
        return snapshot
    earlier = {name: value for name, value in snapshot.items() if name != "CompletionTime"}
    return earlier | {"State": "pending", "Progress": "99%"}
