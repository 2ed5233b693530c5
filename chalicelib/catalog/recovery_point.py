"""A recovery point: one restorable state of one service at one time, with an artefact in each vault. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType, TypeVar

from chalicelib.errors import IntegrityFailure
from chalicelib.ids import fingerprint
from chalicelib.plans.lifecycle import Pool
from chalicelib.plans.model import Kind
from chalicelib.plans.values import PRIMARY
from chalicelib.vaults.layout import manifest_key, segment_key

PointId = NewType("PointId", str)
LINEAGE_DIGITS, POINT_DIGITS = 16, 16

# Set on every artefact in the call that creates it; we never find an artefact by name or id alone.
TAG_POINT = "farshore:recovery-point"
TAG_JOB = "farshore:job"
TAG_SERVICE = "farshore:service"
TAG_PLAN = "farshore:plan"
TAG_RULE = "farshore:rule"
# On everything that is made: the deployment's home region and stage, by which the functions' policies tell
# what is their own.
TAG_DEPLOYMENT = "farshore:deployment"
TAG_SOURCE = "farshore:source-snapshot"
# These help people to tell equal volumes apart; no decision depends on them.
TAG_SOURCE_INSTANCE = "farshore:source-instance"
TAG_SOURCE_DEVICE = "farshore:source-device"
TAG_SOURCE_VOLUME = "farshore:source-volume"
# CreateSnapshots gives all its snapshots the same tags, so this one lists the volumes with their devices.
TAG_SOURCE_DEVICES = "farshore:source-devices"


class PointState(StrEnum):
    """The state of a recovery point, or of its artefact in one vault."""

    CREATING = "CREATING"
    AVAILABLE = "AVAILABLE"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"
    FAILED = "FAILED"
    MISSING = "MISSING"


# A point itself is never MISSING: it becomes FAILED when its last good artefact is missing.
STATES_OF_POINTS = tuple(state for state in PointState if state is not PointState.MISSING)


class Origin(StrEnum):
    """Why a recovery point was made: a schedule, a rule's RPO, or somebody's request."""

    SCHEDULE = "schedule"
    RPO = "rpo"
    REQUEST = "request"
    LAUNCH = "launch"
    TERMINATION = "termination"


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A snapshot of an artefact, and the volume it was first made from, with its instance and device.

    A copy's own volume id means nothing. `type`, `iops`, `throughput` and `multi_attach` are those of the
    volume when the snapshot was made; `remark` is what an operator should know of this snapshot, if anything.
    """

    id: str
    volume_id: str
    size_gib: int
    instance_id: str = ""
    device: str = ""
    type: str = ""
    iops: int | None = None
    throughput: int | None = None
    multi_attach: bool = False
    remark: str = ""

    @property
    def source_tags(self) -> dict[str, str]:
        """The tags that identify the source of the snapshot, on its copies and on volumes made from it."""
        tags = {
            TAG_SOURCE_INSTANCE: self.instance_id,
            TAG_SOURCE_DEVICE: self.device,
            TAG_SOURCE_VOLUME: self.volume_id,
        }
        return {key: value for key, value in tags.items() if value}


@dataclass(frozen=True, slots=True)
class SnapshotSet:
    """Snapshots in a region. If there are many, `snapshots` is empty: they are stored in `shards` records."""

    region: str
    snapshot_count: int
    snapshots: tuple[SnapshotRef, ...] = ()
    shards: int = 0

    def object_keys(self, folder: str) -> frozenset[str]:
        """Return the objects needed to restore it: none, because the manifest only adds detail."""
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file, identified by the hash over its parts, and by that of the whole if one run read all of it."""

    sha256: str | None
    parts_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile(FileContent):
    """A file stored as one object, pinned by its ETag."""

    key: str
    etag: str

    def object_keys(self, folder: str) -> frozenset[str]:
        """Return the objects that it consists of."""
        return frozenset((manifest_key(folder), self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments(FileContent):
    """A file stored in segments, each an object of its own in the artefact's folder."""

    segment_count: int

    def object_keys(self, folder: str) -> frozenset[str]:
        """Return the objects that it consists of."""
        keys = (segment_key(folder, number) for number in range(1, self.segment_count + 1))
        return frozenset((manifest_key(folder), *keys))


Content = SnapshotSet | StoredFile | Segments
File = TypeVar("File", bound=FileContent)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A recovery point as it is stored in one vault; `content` says what it consists of there.

    `folder` has its manifest ("": it has none). `verified_at` is when its bytes were last read back and found
    correct; None means never.

    An EXPIRED artefact still exists until `let_go_at` and can be undeleted; without that time it is being
    deleted. `by_request` says that an operator deleted it, and not its lifecycle. A copy that failed never
    `was_made` and has no content; once what is in its folder is deleted it is FAILED again. A MISSING
    artefact was good, and an inventory did not find all of it in the vault: it does not count until it is
    there again, and only an operator can delete it.
    """

    vault: str
    state: PointState
    content: Content | None = None
    folder: str = ""
    verified_at: datetime | None = None
    reason: str = ""
    let_go_at: datetime | None = None
    by_request: bool = False
    was_made: bool = True

    @property
    def in_grace(self) -> bool:
        """Whether it has expired and can still be undeleted."""
        return self.state is PointState.EXPIRED and self.let_go_at is not None

    @property
    def snapshots(self) -> SnapshotSet:
        """Its snapshots; an empty set where it is a file."""
        return self.content if isinstance(self.content, SnapshotSet) else SnapshotSet("", 0)

    @property
    def object_keys(self) -> frozenset[str]:
        """The objects without which it cannot be restored."""
        return self.content.object_keys(self.folder) if self.content else frozenset()

    def file(self, shape: type[File]) -> File:
        """Return its file, whole or in segments.

        Raises:
            IntegrityFailure: it is something else.
        """
        if not isinstance(self.content, shape):
            found = type(self.content).__name__
            raise IntegrityFailure(
                f"it is {found}, not {shape.__name__}", resource=f"{self.vault}:{self.folder}"
            )
        return self.content


@dataclass(frozen=True, slots=True)
class DueCopy:
    """A copy that should be in a vault and failed: its number of tries, and its next (None: now)."""

    tries: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """All recovery points of one rule and kind for one service, independent of instances."""

    plan: str
    rule: str
    kind: Kind
    service: str

    @property
    def key(self) -> str:
        """The beginning of the ids of its points, after `rp-`."""
        return fingerprint(self.plan, self.rule, self.kind, self.service, digits=LINEAGE_DIGITS)

    def point_id(self, *identity: str) -> PointId:
        """Return the id of the point that a backup with this identity makes."""
        return PointId(f"rp-{self.key}{fingerprint(*identity, digits=POINT_DIGITS)}")


@dataclass(frozen=True, slots=True)
class RecoveryPoint:
    """One restorable state of `service`.

    `nominal_at` is the time it was due; `created_at` when its data was taken. `source` says what it was made
    of (instances, volumes) and how it is restored (the restore and verify scripts). `version` counts the
    changes to its record; `pins` are, by vault, the jobs that need it there; `hold` says why it is kept
    whatever its lifecycle says; until `keep_until` it is kept because a request said so; `due` are, by vault,
    the copies that its plan wants and that failed.

    `left_out` names the volumes or instances that a partial point lacks. `suspect` says why its size is
    suspect; `confirmed` is what an operator said when confirming that it is good.
    """

    id: PointId
    service: str
    plan: str
    rule: str
    kind: Kind
    state: PointState
    nominal_at: datetime
    created_at: datetime
    source: Mapping[str, Any]
    size_bytes: int = 0
    reason: str = ""
    artefacts: Mapping[str, Artefact] = field(default_factory=dict)
    version: int = 0
    pins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    hold: str | None = None
    due: Mapping[str, DueCopy] = field(default_factory=dict)
    origin: Origin = Origin.SCHEDULE
    note: str = ""
    keep_until: datetime | None = None
    left_out: tuple[str, ...] = ()
    suspect: str = ""
    confirmed: str | None = None

    @property
    def is_suspect(self) -> bool:
        """Whether it is suspect and nobody has confirmed it."""
        return bool(self.suspect) and self.confirmed is None

    @property
    def is_flagged(self) -> bool:
        """Whether it is suspect or partial: it does not count as a good point."""
        return self.is_suspect or bool(self.left_out)

    @property
    def flag(self) -> str:
        """Return why it is flagged, or "" when it is not."""
        partial = f"partial, without {', '.join(self.left_out)}" if self.left_out else ""
        return f"suspect: {self.suspect}" if self.is_suspect else partial

    @property
    def pool(self) -> Pool:
        """The pool in which a lifecycle judges it."""
        if self.is_suspect:
            return Pool.SUSPECT
        if self.left_out:
            return Pool.PARTIAL
        return Pool.MANUAL if self.origin is Origin.REQUEST else Pool.SCHEDULED

    def in_vault(self, vault: str) -> Artefact | None:
        """Return the artefact in `vault`, whatever its state; None where there never was one."""
        return self.artefacts.get(vault)

    def available_in(self) -> tuple[str, ...]:
        """Return the names of the vaults it can be restored from, `primary` first."""
        names = (name for name, artefact in self.artefacts.items() if artefact.state is PointState.AVAILABLE)
        return tuple(sorted(names, key=lambda name: (name != PRIMARY, name)))

    @property
    def lineage(self) -> "Lineage":
        """The lineage that the point belongs to."""
        return Lineage(self.plan, self.rule, self.kind, self.service)

    def with_artefact(self, artefact: Artefact) -> "RecoveryPoint":
        """Return the point with `artefact` in place of the one in the same vault, and its state updated."""
        artefacts = {**self.artefacts, artefact.vault: artefact}
        return replace(self, artefacts=artefacts, state=state_of(artefacts.values(), self.state))

    def tags(self, job_id: str) -> dict[str, str]:
        """Return the tags that every artefact of this point is created with."""
        return point_tags(self.id, job_id, self.service, self.plan, self.rule)


def point_tags(point_id: str, job_id: str, service: str, plan: str, rule: str) -> dict[str, str]:
    """Return the tags of an artefact of the point `point_id` made by the job `job_id`."""
    return {TAG_POINT: point_id, TAG_JOB: job_id, TAG_SERVICE: service, TAG_PLAN: plan, TAG_RULE: rule}


def state_of(artefacts: Any, otherwise: PointState) -> PointState:
    """Return a point's state from the states of its artefacts.

    AVAILABLE while one is, FAILED when the last good one is missing, DELETED when all that were ever made
    are, else as it was.
    """
    states = {artefact.state for artefact in artefacts}
    for state in (PointState.AVAILABLE, PointState.EXPIRED):
        if state in states:
            return state
    if PointState.MISSING in states:
        return PointState.FAILED
    return PointState.DELETED if states - {PointState.FAILED} == {PointState.DELETED} else otherwise
