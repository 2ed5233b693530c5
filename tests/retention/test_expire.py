"""Expire jobs: judging lineages of any size, within what a job's record holds; letting go. Pure."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.catalog.recovery_point import Artefact, Lineage, PointState, RecoveryPoint
from chalicelib.jobs.codec import to_text
from chalicelib.jobs.decision import Do, Finish, Wait
from chalicelib.jobs.handler import Turn
from chalicelib.jobs.job import AnyJob
from chalicelib.jobs.work import copy_request, expire_request, release_request
from chalicelib.plans.lifecycle import Lifecycle
from chalicelib.plans.model import Kind, Rule, SnapshotRule
from chalicelib.plans.rules import CopyTo
from chalicelib.replication.point_copy import Original, failure_writes
from chalicelib.retention.expire import (
    MOST_RELEASED,
    Change,
    Delete,
    Expire,
    ExpireObservation,
    ExpireProgress,
    Judge,
    Skip,
)
from chalicelib.retention.judging import Act, Judgement
from tests.jobs.made import NONE, NOON, job_of, point_in, refused

EXPIRE = Expire(NONE, NONE, NONE, NONE, timedelta(0), lambda: NOON)
COUNT_ONE = SnapshotRule(
    name="r", lifecycle=Lifecycle(count=1), rpo=timedelta(hours=1), copies=(CopyTo(vault="dr"),)
)
GONE = Judgement("rp-1", "dr", False, "too old", act=Act.DELETE)


def _job(progress: ExpireProgress | None = None) -> AnyJob:
    lineage = Lineage("p", "r", Kind.SNAPSHOT, "s")
    request = expire_request(lineage, NOON, "test")
    return job_of(request, progress or ExpireProgress())


def _point(hours: int = 0, **artefact: Any) -> RecoveryPoint:
    return point_in("primary", "dr", hours=hours, **artefact)


def _judged(lifecycle: Lifecycle, number: int) -> ExpireProgress:
    """Judge so many hourly points and return what is taken down."""
    rule = COUNT_ONE.model_copy(update={"lifecycle": lifecycle})
    seen = ExpireObservation(tuple(_point(hours) for hours in range(number)), rule=rule)
    do = EXPIRE.decide(_job(), seen, NOON)
    assert isinstance(do, Do)
    assert isinstance(do.action, Judge)
    return EXPIRE.act(_job(), do.action, Turn(NOON)).progress


def test_a_year_of_hourly_points_fits_in_a_jobs_record() -> None:
    progress = _judged(Lifecycle(age=timedelta(days=365)), 8_700)
    finish = EXPIRE.decide(_job(progress), ExpireObservation(), NOON)
    assert isinstance(finish, Finish)
    assert finish.reason == "kept 17400, deleted 0"
    assert len(to_text(progress)) < 300_000


def test_what_is_too_much_for_one_job_is_left_for_the_next() -> None:
    progress = _judged(Lifecycle(count=2), 8_700)
    assert sum(not each.keep for each in progress.judged or ()) == MOST_RELEASED
    assert (progress.kept, progress.left) == (4, 2 * 8_698 - MOST_RELEASED)
    assert len(to_text(progress)) < 300_000


def test_what_could_not_be_deleted_before_does_not_keep_the_rest_from_its_turn() -> None:
    rule = COUNT_ONE
    stuck = Artefact("dr", PointState.EXPIRED, folder="dr/", reason="an AMI uses it")
    points = tuple(
        replace(point, artefacts={**point.artefacts, "dr": stuck})
        for point in (_point(hours) for hours in range(MOST_RELEASED + 10))
    )
    do = EXPIRE.decide(_job(), ExpireObservation(points, rule=rule), NOON)
    assert isinstance(do, Do)
    judged = EXPIRE.act(_job(), do.action, Turn(NOON)).progress.judged or ()
    assert {each.vault for each in judged if not each.keep} == {"primary"}


def test_a_lineage_of_which_nothing_is_left_is_judged_once() -> None:
    progress = _judged(Lifecycle(count=1), 0)
    finish = EXPIRE.decide(_job(progress), ExpireObservation(), NOON)
    assert isinstance(finish, Finish)
    assert finish.reason == "kept 0, deleted 0"


def _decided(point: RecoveryPoint | None, snapshots: tuple[str, ...] = ()) -> Any:
    job = _job(ExpireProgress(judged=(GONE,)))
    return EXPIRE.decide(job, ExpireObservation(point=point, snapshots=snapshots), NOON)


def test_an_artefact_is_marked_while_nothing_needs_it_and_deleted_after_that() -> None:
    do = _decided(_point(), ("snap-1", "snap-2"))
    assert do.action == Delete(GONE, ("snap-1", "snap-2"))
    marked, counted = do.first
    assert marked.sets["state#dr"] == "EXPIRED"
    assert counted.adds == {"count#dr": -1}
    assert (do.budget.operation, do.budget.region, do.budget.calls) == ("DeleteSnapshot", "eu-west-1", 2)


def test_an_artefact_that_is_marked_already_is_only_deleted() -> None:
    do = _decided(_point(state=PointState.EXPIRED))
    assert (do.action, do.first) == (Delete(GONE, ()), ())


def test_an_artefact_that_a_job_needs_stays() -> None:
    do = _decided(replace(_point(), pins={"dr": frozenset({"restore-1"})}))
    assert do.action == Skip(GONE, "restore-1 needs it")


def test_an_artefact_that_is_gone_is_passed_over() -> None:
    for point in (None, _point(state=PointState.DELETED)):
        assert _decided(point).action == Skip(GONE)


def test_an_artefact_whose_vault_does_not_answer_is_tried_again_later() -> None:
    job = _job(ExpireProgress(judged=(GONE,), released=refused(GONE.key)))
    wait = EXPIRE.decide(job, ExpireObservation(), NOON)
    assert isinstance(wait, Wait)
    assert "an AMI uses it" in wait.reason
    again = EXPIRE.decide(job, ExpireObservation(point=_point()), NOON + timedelta(hours=1))
    assert isinstance(again, Do)


def test_the_end_says_what_could_not_be_deleted() -> None:
    job = _job(ExpireProgress(judged=(GONE,), refusals={GONE.key: "an AMI uses it"}))
    finish = EXPIRE.decide(job, ExpireObservation(), NOON)
    assert isinstance(finish, Finish)
    assert "could not delete 1 yet: an AMI uses it" in finish.reason


def _released(judgement: Judgement, point: RecoveryPoint) -> Any:
    progress = ExpireProgress(judged=(judgement,), kept=0)
    return EXPIRE.decide(_job(progress), ExpireObservation(point=point), NOON)


def test_what_failed_when_it_was_judged_and_is_good_by_now_is_left() -> None:
    judgement = Judgement(_point().id, "dr", False, "it failed", good=False, act=Act.DELETE)
    assert isinstance(_released(judgement, _point()).action, Skip)
    failed = _released(judgement, _point(state=PointState.FAILED))
    assert failed.action == Delete(judgement, ())


def test_what_a_failed_copy_left_stays_while_a_job_needs_the_point_anywhere() -> None:
    judgement = Judgement(_point().id, "dr", False, "it failed", good=False, act=Act.DELETE)
    copied = replace(_point(state=PointState.FAILED), pins={"primary": frozenset({"copy-1"})})
    assert isinstance(_released(judgement, copied).action, Skip)


def test_a_copy_that_fails_forgets_nothing_that_has_still_to_be_deleted() -> None:
    point = _point()
    expired = replace(point.artefacts["dr"], state=PointState.EXPIRED)
    job = job_of(copy_request(point, "dr", "snapshot"), None)
    assert failure_writes(job, Original(point.with_artefact(expired), None), NOON) == ()


def test_what_is_not_good_cannot_be_taken_back_when_it_is_let_go_by_request() -> None:
    point = _point(state=PointState.FAILED)
    release = Judgement(point.id, "dr", False, "deleted by request", act=Act.EXPIRE)
    job = job_of(release_request(point, (), NOON), ExpireProgress(judged=(release,)))
    do = replace(EXPIRE, grace=timedelta(hours=6)).decide(job, ExpireObservation(point=point), NOON)
    assert isinstance(do, Do)
    assert isinstance(do.action, Change)
    assert do.action.to.state is PointState.EXPIRED
    assert not do.action.to.in_grace


@pytest.mark.parametrize(
    ("rule", "kept", "why"),
    [
        pytest.param(None, {"primary", "dr"}, "no longer has a rule r of this kind", id="the rule is gone"),
        pytest.param(
            COUNT_ONE.model_copy(update={"copies": ()}), {"dr"}, "no longer copies into dr", id="no vault"
        ),
        pytest.param(COUNT_ONE, set(), "", id="all is as it was"),
    ],
)
def test_what_the_plan_names_no_more_is_kept(rule: Rule | None, kept: set[str], why: str) -> None:
    points = tuple(point_in("primary", "dr", hours=hours) for hours in range(3))
    do = EXPIRE.decide(_job(), ExpireObservation(points, rule=rule), NOON)
    assert isinstance(do, Do)
    assert isinstance(do.action, Judge)
    judgements = do.action.judgements
    whole = {vault for vault in ("primary", "dr") if all(j.keep for j in judgements if j.vault == vault)}
    assert whole == kept
    assert all(why in judgement.reason for judgement in judgements if judgement.vault in kept)
