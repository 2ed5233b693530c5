"""What a backup by snapshot decides when EC2 shows its snapshots late, twice, or no more. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from chalicelib.aws.ec2 import Snapshot
from chalicelib.backup.snapshots import Delete, Seen, SnapshotBackup
from chalicelib.catalog.job import Do, Finish, Job, JobState, Wait
from chalicelib.catalog.requests import Occasion, backup_request
from chalicelib.plans.model import Kind

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
BACKUP = SnapshotBackup(cast(Any, None), cast(Any, None), cast(Any, None), {})  # what it reads is given
RULE = {"name": "r", "kind": "snapshot", "rpo": "1h", "lifecycle": {"count": 3}}


def _job(instances: Mapping[str, timedelta], made: Mapping[str, str], **progress: Any) -> Job:
    """A job that called CreateSnapshots for instances (i-1 has vol-1) so long ago, with what came of it."""
    job = backup_request(
        plan="p",
        rule="r",
        kind=Kind.SNAPSHOT,
        service="s",
        instances=list(instances),
        occasion=Occasion(NOON, "test"),
        rule_document=RULE,
        deployment="test",
    ).opened(NOON)
    sources = [[each, [[each.replace("i-", "vol-"), "/dev/sdf", 1]], [], False] for each in instances]
    job = job.progressed({"sources": sources, "made": made, **progress}, NOON)
    for instance, ago in instances.items():
        job = job.intended(f"CreateSnapshots of {instance}", NOON - ago)
    return job


def _snapshot(id: str, volume: str, started_ago: timedelta = timedelta(0)) -> Snapshot:
    return Snapshot(id, volume, "pending", "", 1, NOON - started_ago, {})


def _decided(job: Job, *snapshots: Snapshot) -> object:
    return BACKUP.decide(job, Seen((), {}, snapshots), NOON)


LONG_AGO, JUST_NOW = timedelta(minutes=5), timedelta(0)


def test_a_snapshot_just_made_and_not_visible_yet_does_not_fail_a_backup_of_many_instances() -> None:
    job = _job({"i-1": LONG_AGO, "i-2": JUST_NOW}, {"vol-1": "snap-1", "vol-2": "snap-2"})
    assert isinstance(_decided(job, _snapshot("snap-1", "vol-1")), Wait)


def test_a_snapshot_that_is_gone_fails_the_backup() -> None:
    job = _job({"i-1": LONG_AGO, "i-2": LONG_AGO}, {"vol-1": "snap-1", "vol-2": "snap-2"})
    cleaning = _decided(job, _snapshot("snap-1", "vol-1"))
    assert isinstance(cleaning, Do)
    assert cleaning.action == Delete(("snap-1",))
    assert "snap-2 disappeared" in cleaning.reason


def test_a_second_set_that_was_deleted_is_not_missed() -> None:
    job = _job({"i-1": LONG_AGO}, {"vol-1": "snap-late"}, deleted=["snap-late"])
    assert isinstance(_decided(job, _snapshot("snap-first", "vol-1")), Wait)


def test_cleaning_up_looks_for_what_may_have_been_made_though_something_was_found() -> None:
    job = _job({"i-1": LONG_AGO, "i-2": JUST_NOW}, {"vol-1": "snap-1"}, error="e", deleted=["snap-1"])
    assert isinstance(_decided(job), Wait)


def test_cleaning_up_ends_at_once_when_all_that_was_made_is_known() -> None:
    job = _job({"i-1": JUST_NOW}, {"vol-1": "snap-1"}, error="e", deleted=["snap-1"])
    finish = _decided(job)
    assert isinstance(finish, Finish)
    assert finish.state is JobState.FAILED
