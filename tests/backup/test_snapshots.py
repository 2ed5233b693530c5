"""What a backup by snapshot decides when EC2 shows its snapshots late, twice, forged, or no more. Pure."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from chalicelib.aws.ec2 import AttachedVolume, Instance, Snapshot, Volume
from chalicelib.backup.snapshot_findings import Adopt, Enlist, SnapshotObservation
from chalicelib.backup.snapshot_point import SnapshotProgress
from chalicelib.backup.snapshot_sources import Call, ChosenVolume, Source
from chalicelib.backup.snapshots import Create, Delete, SnapshotBackup, WriteManifest
from chalicelib.catalog.recovery_point import SnapshotRef
from chalicelib.jobs.decision import Do, Fail, Finish, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.removal import Removal
from chalicelib.plans.selection import VolumeChoice
from tests.jobs.made import (
    JUST_NOW,
    LONG_AGO,
    NONE,
    NOON,
    SNAPSHOT_RULE,
    Rules,
    backup_job,
    failed,
    intended,
    refused,
)


class _Region:
    region = "eu-central-1"


BACKUP = SnapshotBackup(cast(Any, _Region()), NONE, Rules(SNAPSHOT_RULE), NONE, NONE, {})


def _source(instance: str) -> Source:
    return Source(instance, (ChosenVolume(instance.replace("i-", "vol-"), "/dev/sdf", 1),), (), False)


def _call(instance: str) -> Call:
    (call,) = _source(instance).calls
    return call


def _job(*instances: str, made: Mapping[str, str] | None = None, **more: Any) -> AnyJob:
    """A job that has chosen its instances; i-1 has vol-1. What begins with `job_` is the engine's."""
    own = {name.removeprefix("job_"): more.pop(name) for name in list(more) if name.startswith("job_")}
    progress = SnapshotProgress(sources=tuple(map(_source, instances)), made=made or {}, made_at=NOON, **more)
    return backup_job(SNAPSHOT_RULE, instances, progress, **own)


def _snapshot(job: AnyJob, id: str, volume: str = "vol-1", state: str = "pending", **more: Any) -> Snapshot:
    mark = job.mark(job.intent.name if job.intent else "CreateSnapshots of i-1")
    more = {"description": f"{mark} rp-1", "started_at": NOON, **more}
    return Snapshot(id, volume, state, "", 1, tags={}, **more)


def _decided(job: AnyJob, *snapshots: Snapshot, candidates: tuple[Snapshot, ...] = ()) -> Any:
    seen = SnapshotObservation(
        SNAPSHOT_RULE, snapshots={each.id: each for each in snapshots}, candidates=candidates
    )
    return BACKUP.decide(job, seen, NOON)


def _cleaned(job: AnyJob, *candidates: Snapshot) -> Any:
    return BACKUP.clean_up(failed(job), SnapshotObservation(SNAPSHOT_RULE, candidates=candidates), NOON)


def test_each_instance_is_snapshotted_with_an_intent_a_lock_and_a_turn() -> None:
    do = _decided(_job("i-1", "i-2", made={"vol-1": "snap-1"}))
    assert do.action == Create(_call("i-2"))
    assert do.intent == "CreateSnapshots of i-2"
    assert do.locks == ("instance i-2",)
    assert (do.budget.operation, do.budget.calls) == ("CreateSnapshots", 1)


def test_a_call_that_may_have_been_made_is_looked_for_before_it_is_made_again() -> None:
    assert isinstance(_decided(_job("i-1", job_intent=intended("CreateSnapshots of i-1"))), Wait)
    later = _decided(_job("i-1", job_intent=intended("CreateSnapshots of i-1", LONG_AGO)))
    assert later.action == Create(_call("i-1"))


def test_the_first_snapshot_of_a_volume_is_adopted_and_a_second_one_is_spare() -> None:
    job = _job("i-1", job_intent=intended("CreateSnapshots of i-1"))
    second = _snapshot(job, "snap-a", started_at=NOON + timedelta(seconds=9))
    do = _decided(job, candidates=(second, _snapshot(job, "snap-b")))
    assert do.action == Adopt(_call("i-1"), {"vol-1": "snap-b"}, {}, ("snap-a",), NOON)


@pytest.mark.parametrize("cleaning", [False, True])
def test_no_snapshot_is_adopted_while_another_of_its_call_may_not_be_visible(cleaning: bool) -> None:
    two = replace(_source("i-1"), volumes=(*_source("i-1").volumes, ChosenVolume("vol-9", "/dev/sdg", 1)))

    def decided(before: timedelta, *volumes: str) -> Any:
        job = _job("i-1", job_intent=intended("CreateSnapshots of i-1", before))
        job = replace(job, progress=replace(job.progress, sources=(two,)))
        shown = tuple(_snapshot(job, f"snap of {volume}", volume) for volume in volumes)
        return _cleaned(job, *shown) if cleaning else _decided(job, candidates=shown)

    assert isinstance(decided(JUST_NOW, "vol-1"), Wait)
    assert set(decided(JUST_NOW, "vol-1", "vol-9").action.made) == {"vol-1", "vol-9"}
    assert set(decided(LONG_AGO, "vol-1").action.made) == {"vol-1"}


FORGED = {
    "another job's description": {"description": "farshore backup-1 ffffffffffffffffffffffffffffffff rp-1"},
    "a description without the secret": {"description": "farshore backup-1 rp-1"},
    "older than the intent": {"started_at": NOON - timedelta(minutes=1)},
    "of a volume that was not asked for": {"volume": "vol-9"},
}


@pytest.mark.parametrize("how", FORGED)
def test_what_cannot_come_from_the_call_is_not_adopted(how: str) -> None:
    job = _job("i-1", job_intent=intended("CreateSnapshots of i-1"))
    forged = _snapshot(job, "snap-1", **cast(Any, FORGED[how]))
    assert isinstance(_decided(job, candidates=(forged,)), Wait)
    assert isinstance(_cleaned(job, forged), Wait)


def test_a_snapshot_just_made_and_not_visible_yet_does_not_fail_a_backup() -> None:
    job = _job("i-1", "i-2", made={"vol-1": "snap-1", "vol-2": "snap-2"})
    assert isinstance(_decided(job, _snapshot(job, "snap-1")), Wait)


def test_a_snapshot_that_is_gone_fails_the_backup() -> None:
    job = _job("i-1", "i-2", made={"vol-1": "snap-1", "vol-2": "snap-2"})
    job = replace(job, progress=replace(job.progress, made_at=NOON - LONG_AGO))
    fail = _decided(job, _snapshot(job, "snap-1"))
    assert isinstance(fail, Fail)
    assert "snap-2 disappeared" in fail.reason


def test_an_adopted_snapshot_that_is_gone_fails_the_backup() -> None:
    job = _job("i-1", job_intent=intended("CreateSnapshots of i-1"))
    job = replace(job, progress=replace(job.progress, made_at=None))
    do = _decided(job, candidates=(_snapshot(job, "snap-1"),))
    job = job.went_on(BACKUP.act(job, do.action, Turn(NOON)).progress, NOON)
    fail = BACKUP.decide(job, SnapshotObservation(SNAPSHOT_RULE), NOON + LONG_AGO)
    assert isinstance(fail, Fail)
    assert "snap-1 disappeared" in fail.reason


def test_a_snapshot_in_error_fails_the_backup_with_the_words_of_ebs() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"})
    fail = _decided(job, _snapshot(job, "snap-1", state="error", message="no key"))
    assert isinstance(fail, Fail)
    assert "no key" in fail.reason


def test_a_volume_that_was_detached_meanwhile_fails_the_backup() -> None:
    two = replace(_source("i-1"), volumes=(*_source("i-1").volumes, ChosenVolume("vol-9", "/dev/sdg", 1)))
    job = _job("i-1", made={"vol-1": "snap-1"})
    job = replace(job, progress=replace(job.progress, sources=(two,)))
    fail = _decided(job, _snapshot(job, "snap-1"))
    assert isinstance(fail, Fail)
    assert "vol-9 was detached from i-1" in fail.reason


def _attached(*volumes: str) -> Instance:
    devices = tuple(AttachedVolume(volume, f"/dev/{volume}", boot=False) for volume in volumes)
    return Instance("i-1", "running", "eu-central-1a", {}, devices)


def _volume(id: str, **tags: str) -> Volume:
    return Volume(id, "in-use", "eu-central-1a", 2, "gp3", tags, None, 3000, 125)


def test_a_volume_that_was_not_chosen_and_was_snapshotted_is_taken_in_if_the_rule_chooses_it() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, unlisted={"vol-8": "snap-8", "vol-9": "snap-9"})
    rule = SNAPSHOT_RULE.model_copy(update={"volumes": VolumeChoice(exclude_tags={"scratch": ("*",)})})
    shown = {"vol-8": _volume("vol-8"), "vol-9": _volume("vol-9", scratch="yes")}
    seen = SnapshotObservation(rule, instances=(_attached("vol-1", "vol-8", "vol-9"),), volumes=shown)
    do = BACKUP.decide(job, seen, NOON)
    came = ChosenVolume("vol-8", "/dev/vol-8", 2, "gp3", 3000, 125, meanwhile=True)
    assert isinstance(do, Do)
    assert do.action == Enlist({"i-1": (came,)}, ("snap-9",))
    progress = BACKUP.act(job, do.action, Turn(NOON)).progress
    assert progress.made == {"vol-1": "snap-1", "vol-8": "snap-8"}
    assert (progress.unlisted, progress.spare) == ({}, ("snap-9",))
    (source,) = progress.sources or ()
    assert [volume.id for volume in source.volumes] == ["vol-1", "vol-8"]


def test_a_volume_that_was_snapshotted_and_is_attached_nowhere_is_looked_for_and_then_spare() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, unlisted={"vol-9": "snap-9"})
    seen = SnapshotObservation(
        SNAPSHOT_RULE, instances=(_attached("vol-1"),), volumes={"vol-9": _volume("vol-9")}
    )
    assert isinstance(BACKUP.decide(job, seen, NOON), Wait)
    do = BACKUP.decide(job, seen, NOON + LONG_AGO)
    assert isinstance(do, Do)
    assert do.action == Enlist({}, ("snap-9",))


def test_of_a_lost_answer_only_what_began_with_the_rest_is_taken_for_an_unchosen_volume() -> None:
    job = _job("i-1", job_intent=intended("CreateSnapshots of i-1"))
    with_it = _snapshot(job, "snap-8", "vol-8")
    later = _snapshot(job, "snap-9", "vol-9", started_at=NOON + timedelta(seconds=9))
    do = _decided(job, candidates=(with_it, later, _snapshot(job, "snap-1")))
    assert do.action == Adopt(_call("i-1"), {"vol-1": "snap-1"}, {"vol-8": "snap-8"}, (), NOON)


def test_cleaning_up_deletes_what_was_taken_of_volumes_that_were_not_chosen() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, unlisted={"vol-9": "snap-9"})
    cleaning = _cleaned(job)
    assert (cleaning.action, cleaning.deletes) == (Delete(("snap-1", "snap-9")), True)
    assert BACKUP.leftovers(job) == ("snap-1", "snap-9")


def _one_by_one(**progress: Any) -> AnyJob:
    """A job of an instance with more left out than one call can leave out, and two volumes to take."""
    left_out = tuple(f"vol-x{number}" for number in range(41))
    volumes = (ChosenVolume("vol-1", "/dev/sdf", 1), ChosenVolume("vol-2", "/dev/sdg", 1))
    sources = (Source("i-1", volumes, left_out, boot=False),)
    job = _job("i-1", **progress)
    return replace(job, progress=replace(job.progress, sources=sources))


def test_each_volume_taken_by_itself_has_an_intent_and_draws_on_its_calls_own_bucket() -> None:
    do = _decided(_one_by_one(made={"vol-1": "snap-1"}))
    assert do.intent == "CreateSnapshot of vol-2 of i-1"
    assert (do.budget.operation, do.budget.calls) == ("CreateSnapshot", 1)
    assert do.locks == ("instance i-1",)
    assert [volume.id for volume in do.action.call.volumes] == ["vol-2"]


def test_a_volume_taken_by_itself_is_adopted_by_its_own_calls_mark() -> None:
    job = _one_by_one(made={"vol-1": "snap-1"}, job_intent=intended("CreateSnapshot of vol-2 of i-1"))
    other = _snapshot(
        job, "snap-x", "vol-2", description=f"{job.mark('CreateSnapshot of vol-1 of i-1')} rp-1"
    )
    assert isinstance(_decided(job, candidates=(other,)), Wait)
    do = _decided(job, candidates=(other, _snapshot(job, "snap-2", "vol-2")))
    assert (do.action.made, do.action.unlisted) == ({"vol-2": "snap-2"}, {})
    assert BACKUP.act(job, do.action, Turn(NOON)).unlocks == ("instance i-1",)


def test_what_was_made_twice_is_deleted_by_its_recorded_id() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, spare=("snap-2",))
    do = _decided(job, _snapshot(job, "snap-1", state="completed"))
    assert do.action == Delete(("snap-2",))
    assert do.deletes, "the worker that makes points deletes none"
    assert do.budget.operation == "DeleteSnapshot"


def test_a_complete_backup_is_described_and_ends_with_its_point_and_what_follows() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"})
    done = _snapshot(job, "snap-1", state="completed")
    assert _decided(job, done).action == WriteManifest()
    finish = _decided(replace(job, progress=replace(job.progress, described=True)), done)
    assert isinstance(finish, Finish)
    assert [request.kind for request in finish.opens] == ["expire"]
    assert len(finish.writes) == 4


def test_cleaning_up_deletes_what_is_recorded_and_nothing_else() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, spare=("snap-2",))
    assert _cleaned(job, _snapshot(job, "snap-3")).action == Delete(("snap-1", "snap-2"))


def test_cleaning_up_records_what_a_lost_answer_made_before_it_deletes_it() -> None:
    job = _job("i-1", job_intent=intended("CreateSnapshots of i-1"))
    assert _cleaned(job, _snapshot(job, "snap-1")).action == Adopt(
        _call("i-1"), {"vol-1": "snap-1"}, {}, (), NOON
    )
    assert isinstance(_cleaned(job), Wait)


def test_cleaning_up_ends_when_all_that_was_recorded_is_gone() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, removal=Removal(removed=("snap-1",)))
    assert isinstance(_cleaned(job), Finish)


def test_cleaning_up_tries_again_what_was_refused_and_says_so() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, removal=refused("snap-1"))
    wait = _cleaned(job)
    assert isinstance(wait, Wait)
    assert "an AMI uses it" in wait.reason
    assert BACKUP.leftovers(job) == ("snap-1",)


def _listed(boot: bool, listed: set[str]) -> SnapshotObservation:
    """Return an instance with a boot and two data volumes, of which EC2 lists some."""
    ids = {"vol-root": True, "vol-1": False, "vol-2": False}
    volumes = tuple(AttachedVolume(id, f"/dev/{id}", boot=is_boot) for id, is_boot in ids.items())
    instance = Instance("i-1", "running", "a", {}, volumes)
    there = {id: Volume(id, "in-use", "a", 1, "gp3", {}, None) for id in listed}
    rule = SNAPSHOT_RULE.model_copy(update={"volumes": VolumeChoice(boot=boot)})
    return SnapshotObservation(rule, (instance,), there)


@pytest.mark.parametrize(
    ("boot", "listed", "left_out"),
    [
        (True, {"vol-root", "vol-1", "vol-2"}, ()),
        (True, {"vol-root", "vol-1"}, ("vol-2",)),
        (True, {"vol-1"}, ("vol-root", "vol-2")),
        (False, {"vol-1", "vol-2"}, ()),
        (False, {"vol-1"}, ("vol-2",)),
    ],
)
def test_a_volume_that_ec2_does_not_list_is_left_out_and_named(
    boot: bool, listed: set[str], left_out: tuple[str, ...]
) -> None:
    job = backup_job(SNAPSHOT_RULE, ("i-1",), SnapshotProgress())
    do = BACKUP.decide(job, _listed(boot, listed), NOON)
    assert isinstance(do, Do)
    progress = BACKUP.act(job, do.action, Turn(NOON)).progress
    assert progress.left_out == left_out


def test_a_point_that_lacks_a_volume_is_partial_and_says_so() -> None:
    job = _job("i-1", made={"vol-1": "snap-1"}, described=True, left_out=("vol-2",))
    end = _decided(job, _snapshot(job, "snap-1", state="completed"))
    assert isinstance(end, Finish)
    assert end.reason == "1 snapshots; partial, without vol-2"
    [settled] = [write.put for write in end.writes if write.put]
    assert json.loads(settled["left_out"]) == ["vol-2"]


def test_a_large_point_lacks_what_any_of_its_parts_lacks() -> None:
    class Shards:
        """Three shards, of which the second lacks a volume."""

        def stored_shard(self, point: str, vault: str, number: int) -> tuple[SnapshotRef, ...]:
            return (SnapshotRef(f"snap-{number}", f"vol-{number}", 1),)

        def lacking_in_shard(self, point: str, vault: str, number: int) -> tuple[str, ...]:
            return ("vol-9",) if number == 1 else ()

    backup = replace(BACKUP, points=cast(Any, Shards()))
    ids = tuple(f"i-{number}" for number in range(25))
    job = backup_job(SNAPSHOT_RULE, ids, SnapshotProgress(described=True, parts_opened=3))
    end = backup.decide(job, SnapshotObservation(SNAPSHOT_RULE), NOON)
    assert isinstance(end, Finish)
    assert end.reason == "3 snapshots; partial, without vol-9"
