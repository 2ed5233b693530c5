"""What is stored of a job is read back as it was, and says its version."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.backup.service_progress import Reported, ServiceBackupProgress
from chalicelib.backup.snapshot_point import SnapshotProgress
from chalicelib.backup.snapshot_sources import ChosenVolume, Source
from chalicelib.catalog.recovery_point import (
    Artefact,
    Origin,
    PointState,
    Segments,
    SnapshotRef,
    SnapshotSet,
    StoredFile,
)
from chalicelib.catalog.store.rules import RuleId
from chalicelib.errors import IntegrityFailure
from chalicelib.jobs.codec import from_text, to_text
from chalicelib.jobs.job import Budget, Failure, Intent, JobState, Permit
from chalicelib.jobs.removal import Removal
from chalicelib.jobs.script_run import ScriptRun
from chalicelib.jobs.work import (
    AttachedRestoreWork,
    BackupWork,
    CopyWork,
    ExpireWork,
    Release,
    ServiceRestoreWork,
    Terms,
    VolumeRestoreWork,
)
from chalicelib.plans.model import Kind
from chalicelib.recovery.attached import AttachedProgress
from chalicelib.recovery.services import ServiceRestoreProgress
from chalicelib.recovery.staging import StagedFile
from chalicelib.recovery.volumes import VolumeProgress
from chalicelib.replication.objects import ObjectCopyProgress
from chalicelib.replication.offsite import SegmentCopyProgress
from chalicelib.replication.regions import SnapshotCopyProgress
from chalicelib.retention.expire import ExpireProgress
from chalicelib.retention.judging import Act, Judgement
from tests.jobs.made import NOON

REMOVAL = Removal(("a",), {"b": "why"}, NOON, 3)
REF = SnapshotRef("snap-1", "vol-1", 8, "i-1", "/dev/sdf", "gp3", 3000, 125, True, "remark")
VOLUME = ChosenVolume("vol-1", "/dev/sdf", 8, "gp3", 3000, 125, True, True)
SNAPSHOTS = Artefact("dr", PointState.AVAILABLE, SnapshotSet("eu-west-1", 1, (REF,)), "f/")
FILE = Artefact(
    "dr", PointState.AVAILABLE, StoredFile(key="k", etag="e", sha256="a", parts_sha256="b"), "f/", NOON
)
SEGMENTS = replace(FILE, content=Segments(segment_count=3, sha256=None, parts_sha256="b"))
RUN = ScriptRun("i-1", "command", NOON, ("other",), "said", 2, NOON)
TERMS = Terms(Origin.REQUEST, "why", timedelta(hours=1), True)
VALUES = [
    BackupWork("rp-1", RuleId("rule"), ("i-1",), None, 1, True, 2, 3, TERMS, ("i-2",)),
    CopyWork("rp-1", "dr", True, 4),
    ExpireWork(Kind.SERVICE, (Release("rp-1", "dr", "why"),)),
    VolumeRestoreWork("rp-1", "dr", "eu-west-1", "eu-west-1a", 8, "io2", 200, 250, 1),
    AttachedRestoreWork("rp-1", "dr", "eu-west-1", "i-1", RuleId("rule")),
    AttachedRestoreWork("rp-1", "dr", "eu-west-1", "i-1", None),
    *(
        ServiceRestoreWork("rp-1", "azure", "i-1", artefact, 5, RuleId("rule"), ("primary",))
        for artefact in (SNAPSHOTS, FILE, SEGMENTS)
    ),
    SnapshotProgress(
        (Source("i-1", (VOLUME,), ("vol-2",), True),),
        {"vol-1": "snap-1"},
        NOON,
        ("snap-2",),
        {"vol-3": "snap-3"},
        REMOVAL,
        True,
        1,
        2,
        ("vol-1",),
    ),
    ServiceBackupProgress(
        "upload",
        RUN,
        Reported("c" * 64, 5, "f" * 64, 1, "e" * 64),
        "etag",
        1,
        "d" * 64,
        True,
        "20 bytes",
        REMOVAL,
    ),
    SnapshotCopyProgress({"snap-1": "snap-2"}, NOON, ("snap-3",), ("snap-1",), REMOVAL, True, 1, 2),
    ObjectCopyProgress("upload", True, 3, 4, True, "etag", NOON, REMOVAL),
    SegmentCopyProgress(3, NOON),
    VolumeProgress({"snap-1": "vol-1"}, NOON, True, 2),
    AttachedProgress(
        {"snap-1": "vol-1"}, {"/dev/sdf": "vol-1"}, NOON, ("vol-1",), NOON, RUN, "restored", True, REMOVAL
    ),
    ServiceRestoreProgress(True, StagedFile("primary", "key", "upload", 3, True), RUN, "restored", REMOVAL),
    ExpireProgress(
        (Judgement("rp-1", "dr", False, "old", act=Act.EXPIRE),), 1, 2, {"a": "b"}, REMOVAL, 4, REMOVAL, NOON
    ),
    Intent("SendCommand", NOON + timedelta(microseconds=1)),
    Permit(Budget("CreateSnapshots", "eu-central-1", 3), NOON),
    Failure("why", JobState.CANCELLED, NOON),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_read_back_as_it_was(value: object) -> None:
    assert from_text(type(value), to_text(value)) == value


def test_a_version_that_is_not_known_is_an_error_that_names_it() -> None:
    text = json.dumps({**json.loads(to_text(CopyWork("rp-1", "dr"))), "v": 99})
    with pytest.raises(IntegrityFailure, match="version 99"):
        from_text(CopyWork, text)
