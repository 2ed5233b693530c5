"""Whose a snapshot is, and what an inventory makes of what it sees. Pure."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.aws.ec2 import Snapshot
from chalicelib.inventory.proof import job_ids, made_by, point_ids
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.work import copy_call, snapshot_call
from tests.jobs.made import HOUR, NOON, SNAPSHOT_RULE, backup_job, copy_job, point_in

BACKUP = backup_job(SNAPSHOT_RULE, ["i-1", "i-2"], None)
COPY = copy_job(point_in("primary"), "snapshot", None)


def _snapshot(description: str, *, began: timedelta = timedelta(0)) -> Snapshot:
    return Snapshot("snap-1", "vol-1", "completed", "100%", 1, NOON + began, {}, description=description)


@pytest.mark.parametrize(
    ("job", "call", "rest"),
    [
        (BACKUP, snapshot_call("i-2"), f" {BACKUP.work.recovery_point}"),
        (COPY, copy_call("snap-0"), " snap-0 of eu-central-1, rp-1"),
    ],
)
def test_what_carries_the_mark_of_one_of_a_jobs_calls_is_the_jobs(job: AnyJob, call: str, rest: str) -> None:
    assert made_by(job, _snapshot(job.mark(call) + rest))
    other = replace(job, secret="another")
    assert not made_by(other, _snapshot(job.mark(call) + rest))
    assert not made_by(job, _snapshot(job.mark(call) + rest, began=-HOUR)), "it is older than the job"
    assert not made_by(job, _snapshot(job.mark(call) + rest, began=HOUR)), "the job was over before it began"


@pytest.mark.parametrize(
    "description",
    [
        "",
        "farshore",
        f"farshore {BACKUP.id}",
        f"farshore {BACKUP.id} {'0' * 32} rp",
        f"{BACKUP.mark(snapshot_call('i-3'))} rp",
        f"{COPY.mark(snapshot_call('i-1'))} rp",
        f"x {BACKUP.mark(snapshot_call('i-1'))} rp",
        f"{BACKUP.mark(snapshot_call('i-1'))}0 rp",
    ],
)
def test_nothing_else_is(description: str) -> None:
    assert not made_by(BACKUP, _snapshot(description))


def test_the_mark_of_one_copy_proves_nothing_for_another_snapshot() -> None:
    assert not made_by(COPY, _snapshot(f"{COPY.mark(copy_call('snap-0'))} snap-9 of eu-central-1, rp-1"))


def test_only_what_can_be_an_id_is_looked_up() -> None:
    point, job = f"rp-{'0' * 32}", f"copy-{'0' * 24}"
    assert point_ids([None, "", "rp-", "x" * 2000, point, f"{point}\n", point.upper()]) == {point}
    assert job_ids([None, "", "job", f"{job}0", job, f"{job}\n"]) == {job}
