"""Expire jobs: judging lineages of any size, within what a job's record holds. Pure."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from chalicelib.catalog.job import Do, Finish, Job
from chalicelib.catalog.recovery_point import Artefact, PointId, PointState, RecoveryPoint
from chalicelib.catalog.requests import expire_request
from chalicelib.plans.model import Kind, parse_plan, rule_document
from chalicelib.retention.expire import MOST_RELEASED, Expire, Judge, Release, Seen

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
EXPIRE = Expire(cast(Any, None), cast(Any, None), cast(Any, None), lambda: NOON)  # what it reads is given


def _job(lifecycle: dict[str, object]) -> Job:
    rule = {"name": "r", "kind": "snapshot", "rpo": "1h", "lifecycle": lifecycle}
    plan = parse_plan({"name": "p", "selection": {"tags": {"a": "b"}}, "rules": [rule]}, vaults=None)
    document = rule_document(plan.rules[0])
    return expire_request(
        plan="p", rule="r", service="s", now=NOON, occasion="test", rule_document=document
    ).opened(NOON)


def _points(number: int) -> tuple[RecoveryPoint, ...]:
    artefacts = {
        vault: Artefact(vault, PointState.AVAILABLE, folder=f"{vault}/") for vault in ("primary", "dr")
    }
    return tuple(
        RecoveryPoint(
            id=PointId(f"rp-{hours:024d}"),
            service="s",
            plan="p",
            rule="r",
            kind=Kind.SNAPSHOT,
            state=PointState.AVAILABLE,
            nominal_at=NOON - timedelta(hours=hours),
            created_at=NOON - timedelta(hours=hours),
            source={},
            artefacts=artefacts,
        )
        for hours in range(number)
    )


def _judged(lifecycle: dict[str, object], points: tuple[RecoveryPoint, ...]) -> tuple[Job, Release | Finish]:
    """Judge, take it down, and answer what is decided next."""
    job, seen = _job(lifecycle), Seen(points, {})
    judge = EXPIRE.decide(job, seen, NOON)
    assert isinstance(judge, Do)
    assert isinstance(judge.action, Judge)
    job = job.progressed(EXPIRE.act(job, judge.action, NOON), NOON)
    then = EXPIRE.decide(job, seen, NOON)
    if isinstance(then, Do):
        assert isinstance(then.action, Release)
        return job, then.action
    assert isinstance(then, Finish)
    return job, then


def test_a_year_of_hourly_points_fits_in_a_jobs_record() -> None:
    job, finish = _judged({"age": "365d"}, _points(8_700))
    assert isinstance(finish, Finish)
    assert finish.reason == "kept 17400, deleted 0"
    assert len(json.dumps(job.progress)) < 300_000


def test_what_is_too_much_for_one_job_is_left_for_the_next() -> None:
    points = _points(8_700)
    job, release = _judged({"count": 2}, points)
    assert isinstance(release, Release)
    assert (len(release.artefacts), job.progress["kept"]) == (MOST_RELEASED, 4)
    assert job.progress["left"] == 2 * 8_698 - MOST_RELEASED
    assert len(json.dumps(job.progress)) < 300_000


def test_what_could_not_be_deleted_before_does_not_keep_the_rest_from_its_turn() -> None:
    points = _points(MOST_RELEASED + 10)
    stuck = Artefact("dr", PointState.EXPIRED, folder="dr/", reason="an AMI uses it")
    seen = tuple(replace(point, artefacts={**point.artefacts, "dr": stuck}) for point in points)
    _, release = _judged({"count": 1}, seen)
    assert isinstance(release, Release)
    assert {artefact.vault for _, artefact, _ in release.artefacts} == {"primary"}


def test_a_lineage_of_which_nothing_is_left_is_judged_once() -> None:
    _, finish = _judged({"count": 1}, ())
    assert isinstance(finish, Finish)
    assert finish.reason == "kept 0, deleted 0"
