"""CopySnapshot: copies a snapshot into the region in which the call is made.

The copy has the same bytes, only the tags of the call, a meaningless volume id, and is `pending` longer than
a snapshot. The event of its end is on the bus of the destination region.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html; when a copy is incremental,
and how it is encrypted: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-copy-snapshot.html; copies
at once: https://docs.aws.amazon.com/general/latest/gr/ebs-service.html. A source that does not exist, or
is deleted before the copy is done, makes the copy fail later ("Source snapshot ID is not valid" among the
EBS events); one that is not complete is refused, as CreateVolume refuses it.

moto: copies at once.
Added: `pending`, the quota of copies, sources that are deleted meanwhile, contents, events.
"""

import re
from collections.abc import Mapping
from typing import Any

from moto.ec2.models.elastic_block_store import Snapshot
from moto.ec2.utils import random_snapshot_id

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.contents import Contents
from local_cloud.services.ec2.events import Span, snapshot_copied
from local_cloud.services.ec2.snapshot_states import SnapshotState, SnapshotStates, VolumeOfCopies
from local_cloud.services.ec2.snapshots import Snapshots
from local_cloud.services.ec2.tags import requested_tags, tags_of
from local_cloud.services.ec2.world import Region, World, required

REGION_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
NO_SOURCE = "Source snapshot ID is not valid"


class Copies:
    """The copies between the regions of an account."""

    def __init__(
        self, world: World, contents: Contents, states: SnapshotStates, snapshots: Snapshots
    ) -> None:
        """Share the trees of `contents`; `snapshots` ends a copy as it ends a snapshot."""
        self._world = world
        self._contents = contents
        self._states = states
        self._snapshots = snapshots

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"CopySnapshot": self.copy_snapshot}

    def copy_snapshot(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Begin a copy in the region of the call."""
        region = Region.of(call)
        source_id = required(call.params, "SourceSnapshotId")
        source_region = Region(call.account, required(call.params, "SourceRegion"))
        if not REGION_NAME.fullmatch(source_region.name):
            raise AwsError("InvalidParameterValue", f"Invalid value '{source_region.name}' for sourceRegion.")
        tags = requested_tags(call.params, "snapshot")["snapshot"]
        source = source_region.backend.snapshots.get(source_id)
        if source and source.status != "completed":
            raise AwsError("IncorrectState", f"Snapshot is in invalid state - {source.status}")
        self._check_quotas(region)
        copy = self._make(region, source, call.params)
        copy.add_tags(tags)
        self._enter(region, copy, source_region, source_id)
        return {"SnapshotId": copy.id, "Tags": tags_of(region.backend, copy.id)}

    def _make(self, region: Region, source: Snapshot | None, params: Mapping[str, Any]) -> Snapshot:
        """Make moto's record of the copy; the copy of an encrypted snapshot is encrypted."""
        encrypted = bool(params.get("Encrypted")) or bool(source and source.encrypted)
        key = params.get("KmsKeyId")
        if key and not encrypted:
            raise AwsError(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            )
        copy = Snapshot(
            region.backend,
            random_snapshot_id(),
            volume=VolumeOfCopies(source.volume_size if source else 0),
            description=params.get("Description", ""),
            encrypted=encrypted,
            kms_key_id=(key or _default_key(region)) if encrypted else None,
        )
        copy.status = "pending"
        copy.start_time = self._world.now()
        region.backend.snapshots[copy.id] = copy
        return copy

    def _enter(self, region: Region, copy: Snapshot, source_region: Region, source_id: str) -> None:
        """Enter the copy in the table, share the source's bytes, and have it end."""
        source = self._states.get(source_id)
        tree = source.tree if source else None
        if tree:
            self._contents.hold(tree.id)
        state = SnapshotState(
            region,
            copy,
            source_id,
            source.lineage if source else source_id,
            tree,
            copy.start_time,
            copy.start_time + self._world.quotas.copy_pending,
            copied_from=source_region,
        )
        incremental = self._is_incremental(state)
        self._states.add(state)
        self._world.later(
            self._world.quotas.copy_pending,
            lambda: self._complete(state, incremental=incremental),
            f"completion of copy {copy.id}",
        )

    def _complete(self, state: SnapshotState, *, incremental: bool) -> None:
        source_region = state.copied_from
        if source_region and state.source_id not in source_region.backend.snapshots:
            state.message = NO_SOURCE
        if outcome := self._snapshots.finish(state):
            span = Span(state.started_at, self._world.now())
            self._world.tell(state.region, snapshot_copied(outcome, span, incremental=incremental))

    def _is_incremental(self, state: SnapshotState) -> bool:
        """Return whether the destination has a complete earlier copy of the same line under the same key."""
        return any(
            earlier.lineage == state.lineage
            and earlier.state == "completed"
            and earlier.snapshot.kms_key_id == state.snapshot.kms_key_id
            for earlier in self._states.of(state.region)
            if earlier.copied_from
        )

    def _check_quotas(self, region: Region) -> None:
        limit = self._world.quotas.copies_per_region
        here = self._states.of(region)
        if sum(bool(state.copied_from) and state.state == "pending" for state in here) >= limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"Too many snapshot copies in progress. The limit is {limit} for this destination region.",
            )
        if len(region.backend.snapshots) >= self._world.quotas.snapshots_per_region:
            raise AwsError("SnapshotLimitExceeded", "Maximum allowed active snapshot limit exceeded.")


def _default_key(region: Region) -> str:
    """Return the region's key for EBS, made when first used."""
    backend = region.backend
    return backend.default_kms_key_id or backend.modify_ebs_default_kms_key_id("")
