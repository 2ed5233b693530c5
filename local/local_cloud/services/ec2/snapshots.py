"""Snapshots of volumes: how CreateSnapshot and CreateSnapshots begin them, their end, their deletion.

The bytes are captured when the call is made; the snapshot stays `pending` for a while and then completes, or
ends in `error` if that was requested. The snapshots of one CreateSnapshots complete together, and if
one fails all fail.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshots.html, API_CreateSnapshot.html,
API_DeleteSnapshot.html; codes:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html; pending snapshots, which
count though deleted or in error: https://repost.aws/knowledge-center/ebs-snapshot-stuck; snapshots that
complete together: https://repost.aws/knowledge-center/ebs-snapshot-ec2-ami-creation-slow. EBS documents
no error for an instance with nothing left to snapshot, nor the text for an excluded root volume: both are
`InvalidParameterValue` here.

moto: completes a snapshot at once, ignores exclusions and the tags to copy in CreateSnapshots, and deletes a
snapshot that an image uses.
Added: `pending`, quotas, exclusions, tags of the source, `InvalidSnapshot.InUse`, contents, events.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moto.ec2.models.elastic_block_store import Volume
from moto.ec2.models.instances import Instance

from local_cloud.call import AwsError, Call, Handler, PassOn
from local_cloud.services.ec2.contents import Contents
from local_cloud.services.ec2.disks import Disks
from local_cloud.services.ec2.events import Event, Outcome, Span, snapshot_created, snapshots_created
from local_cloud.services.ec2.snapshot_states import SnapshotState, SnapshotStates, snapshot_in
from local_cloud.services.ec2.tags import check_tags, requested_tags, tags_of
from local_cloud.services.ec2.world import Region, World, required

EXCLUDED_VOLUMES = 40

Tell = Callable[[Sequence[Outcome], Span], Event]
"""Makes the event of the end of some snapshots."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A snapshot to be made."""

    volume: Volume
    tags: Mapping[str, str]


class Snapshots:
    """The snapshots of every account and region."""

    def __init__(self, world: World, disks: Disks, contents: Contents, states: SnapshotStates) -> None:
        """Capture the bytes of `disks` in `contents`, and keep the rest in `states`."""
        self._world = world
        self._disks = disks
        self._contents = contents
        self._states = states
        self._failures: dict[str, str] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {
            "CreateSnapshot": self.create_snapshot,
            "CreateSnapshots": self.create_snapshots,
            "DeleteSnapshot": self.delete_snapshot,
        }

    def create_snapshot(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Begin a snapshot of one volume."""
        region = Region.of(call)
        volume = region.backend.get_volume(required(call.params, "VolumeId"))
        tags = requested_tags(call.params, "snapshot")["snapshot"]
        (state,) = self.begin(
            region,
            [Wanted(volume, tags)],
            call.params.get("Description", ""),
            lambda outcomes, span: snapshot_created(outcomes[0], span),
        )
        return _show(region, state)

    def create_snapshots(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Begin snapshots of an instance's volumes, all at one instant, or none."""
        region = Region.of(call)
        wanted = [
            Wanted(volume, self._tags(region, volume, call.params)) for volume in _chosen(region, call.params)
        ]
        states = self.begin(region, wanted, call.params.get("Description", ""), snapshots_created)
        return {"Snapshots": [_show(region, state) for state in states]}

    def begin(
        self,
        region: Region,
        wanted: Sequence[Wanted],
        description: str,
        tell: Tell | None,
        done: Callable[[], None] = lambda: None,
    ) -> list[SnapshotState]:
        """Capture all volumes' bytes at one instant and begin their snapshots; `tell` makes the event."""
        self._check_quotas(region, wanted)
        started_at = self._world.now()
        due_at = started_at + self._world.quotas.snapshot_pending
        trees = self._disks.capture([one.volume.id for one in wanted])
        states = []
        for one, tree in zip(wanted, trees, strict=True):
            snapshot = region.backend.create_snapshot(one.volume.id, description)
            snapshot.status = "pending"
            snapshot.start_time = started_at
            snapshot.kms_key_id = one.volume.kms_key_id if one.volume.encrypted else None
            snapshot.add_tags(dict(one.tags))
            state = SnapshotState(region, snapshot, one.volume.id, one.volume.id, tree, started_at, due_at)
            self._states.add(state)
            states.append(state)

        def complete() -> None:
            self._complete(region, states, tell)
            done()

        ids = " ".join(state.id for state in states)
        self._world.later(self._world.quotas.snapshot_pending, complete, f"completion of {ids}")
        return states

    def delete_snapshot(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        """Delete a snapshot that no AMI uses, pending or not."""
        region = Region.of(call)
        snapshot = snapshot_in(region, required(call.params, "SnapshotId"))
        for image in region.backend.amis.values():
            if any(mapped["Ebs"].get("SnapshotId") == snapshot.id for mapped in image.block_device_mappings):
                raise AwsError(
                    "InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image.id}"
                )
        del region.backend.snapshots[snapshot.id]
        region.backend.tags.pop(snapshot.id, None)
        self.forget(snapshot.id)
        return {}

    def forget(self, snapshot_id: str) -> None:
        """Release a deleted snapshot's bytes; one in progress counts until it would have completed."""
        state = self._states.get(snapshot_id)
        if state is None:
            return
        if state.tree:
            self._contents.release(state.tree.id)
            state.tree = None
        state.deleted = True
        if state.ended_at:
            self._states.remove(snapshot_id)

    def fail(self, resource_id: str, reason: str) -> None:
        """Make the next snapshot or copy that is, or is made of, `resource_id` end in error."""
        self._failures[resource_id] = reason

    def finish(self, state: SnapshotState) -> Outcome | None:
        """End a snapshot or a copy, and return how; None if it was deleted meanwhile."""
        state.ended_at = self._world.now()
        if state.deleted:
            self._states.remove(state.id)
            return None
        reason = self._failures.pop(state.id, None) or self._failures.pop(state.source_id, None)
        if reason or state.message:
            state.message = reason or state.message
            state.snapshot.status = "error"
        else:
            state.snapshot.status = "completed"
        return Outcome(state.id, state.region.name, state.source_arn, state.snapshot.status, state.message)

    def clear(self) -> None:
        """Forget all."""
        self._states.clear()
        self._failures.clear()

    def _complete(
        self,
        region: Region,
        states: Sequence[SnapshotState],
        tell: Tell | None,
    ) -> None:
        outcomes = [outcome for state in states if (outcome := self.finish(state))]
        if not outcomes:
            return
        if any(outcome.state == "error" for outcome in outcomes):
            for state in states:
                state.snapshot.status = "error"
            outcomes = [replace(outcome, state="error") for outcome in outcomes]
            outcomes.sort(key=lambda outcome: not outcome.cause)
        if tell:
            self._world.tell(region, tell(outcomes, Span(states[0].started_at, self._world.now())))

    def _check_quotas(self, region: Region, wanted: Sequence[Wanted]) -> None:
        """Refuse more snapshots at once, or in all, than the account may have."""
        quotas = self._world.quotas
        unfinished = [state for state in self._states.unfinished(region) if not state.copied_from]
        of_volume = Counter(state.source_id for state in unfinished)
        for one in wanted:
            if of_volume[one.volume.id] >= quotas.pending_snapshots_per_volume[one.volume.volume_type]:
                raise AwsError(
                    "ConcurrentSnapshotLimitExceeded",
                    "Maximum allowed in-progress snapshots for a single volume exceeded.",
                )
        pending = sum(state.state == "pending" for state in unfinished)
        if pending + len(wanted) > quotas.pending_snapshots:
            raise AwsError(
                "PendingSnapshotLimitExceeded",
                "You've reached the limit on the number of Amazon EBS snapshots that you can have in the "
                "pending state.",
            )
        if len(region.backend.snapshots) + len(wanted) > quotas.snapshots_per_region:
            raise AwsError("SnapshotLimitExceeded", "Maximum allowed active snapshot limit exceeded.")

    def _tags(self, region: Region, volume: Volume, params: Mapping[str, Any]) -> dict[str, str]:
        """Return the tags of a volume's snapshot: the volume's own, if requested, and those of the call."""
        copied = tags_of(region.backend, volume.id) if params.get("CopyTagsFromSource") == "volume" else []
        own = {tag["Key"]: tag["Value"] for tag in copied if not tag["Key"].startswith("aws:")}
        tags = own | requested_tags(params, "snapshot")["snapshot"]
        check_tags(tags)
        return tags


def _chosen(region: Region, params: Mapping[str, Any]) -> list[Volume]:
    """Return the volumes of the instance that a CreateSnapshots is about, the root volume first."""
    specification = required(params, "InstanceSpecification")
    (instance,) = region.instances([required(specification, "InstanceId")])
    excluded = set(specification.get("ExcludeDataVolumeIds", ()))
    if len(excluded) > EXCLUDED_VOLUMES:
        raise AwsError(
            "InvalidParameterValue", f"You can exclude up to {EXCLUDED_VOLUMES} volume IDs per request."
        )
    root = root_volume_id(instance)
    if root in excluded:
        raise AwsError(
            "InvalidParameterValue",
            f"The volume '{root}' is the root volume of instance '{instance.id}'; to exclude it, use "
            "ExcludeBootVolume.",
        )
    if specification.get("ExcludeBootVolume"):
        excluded.add(root)
    attached = [block.volume_id for _, block in instance.get_block_device_mapping]
    chosen = sorted((one for one in attached if one not in excluded), key=lambda one: one != root)
    if not chosen:
        raise AwsError("InvalidParameterValue", f"The instance '{instance.id}' has no volumes to snapshot.")
    return [region.backend.get_volume(volume_id) for volume_id in chosen]


def root_volume_id(instance: Instance) -> str:
    """Return the id of an instance's root volume, empty if it has none."""
    block = instance.block_device_mapping.get(instance.root_device_name)
    return block.volume_id if block else ""


def _show(region: Region, state: SnapshotState) -> dict[str, Any]:
    """Return a snapshot as the calls that begin one show it."""
    snapshot = state.snapshot
    return {
        "SnapshotId": snapshot.id,
        "VolumeId": snapshot.volume_id,
        "VolumeSize": snapshot.volume_size,
        "Description": snapshot.description,
        "State": "pending",
        "Progress": "",
        "StartTime": state.started_at,
        "OwnerId": snapshot.owner_id,
        "Encrypted": snapshot.encrypted,
        "Tags": tags_of(region.backend, snapshot.id),
    }
