"""What a tick opens for one plan at one moment: a table of what is due, covered, known and refused. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.backup.due_backups import Covered, Deployment
from chalicelib.backup.tick_plan import PlanAtTick, is_due, plan_tick, rule_to_try
from chalicelib.catalog.recovery_point import Lineage
from chalicelib.catalog.store import StoredPlan
from chalicelib.catalog.store.rules import RuleId
from chalicelib.catalog.store.services import LineageRecord, Newest, Retry
from chalicelib.jobs.job import JobState
from chalicelib.plans.lifecycle import Lifecycle
from chalicelib.plans.model import Kind, Plan, Rule, SnapshotRule
from chalicelib.plans.selection import Selection
from tests.jobs.made import HOUR, MINUTE, NOON, SNAPSHOT_RULE

HOURLY = SnapshotRule(name="hourly", lifecycle=Lifecycle(count=1), schedule="cron(0 * * * ? *)")
AGED = SNAPSHOT_RULE.model_copy(update={"name": "aged"})
BOTH = Covered({"s": ("i-1",), "t": ("i-2",)})
UNSEEN = Covered({}, unseen="EC2 does not answer")


def _stored(*rules: Rule, ran_until: datetime, service: str = "s") -> StoredPlan:
    plan = Plan(name="p", service=service, selection=Selection(tags={"app": ("x",)}), rules=rules)
    return StoredPlan(plan, {rule.name: ran_until for rule in rules}, {}, NOON)


def _view(stored: StoredPlan, covered: Covered, *records: LineageRecord, **more: Any) -> PlanAtTick:
    ids = {rule.name: RuleId(rule.name) for rule in stored.plan.rules}
    where = Deployment("test", "eu-central-1")
    return PlanAtTick(stored, ids, covered, records, where, **{"now": NOON + MINUTE, **more})


def _record(rule: Rule, service: str = "s", **more: Any) -> LineageRecord:
    return LineageRecord(Lineage("p", rule.name, Kind.SNAPSHOT, service), **more)


def _in_primary(at: datetime) -> dict[str, Newest]:
    return {"primary": Newest(at)}


def _opened(
    view: PlanAtTick, retries: Sequence[LineageRecord] = ()
) -> list[tuple[str, list[str], list[str]]]:
    """Return, run by run, the rule, the services to back up and those to record as missed."""
    return [
        (
            run.rule.name,
            [target.lineage.service for target in run.targets],
            [target.lineage.service for target, _ in run.missed],
        )
        for run in plan_tick(view, retries)
    ]


BEFORE_NOON, LONG_BEFORE, SINCE_NOON = NOON - MINUTE, NOON - 5 * HOUR, NOON
SCHEDULES: list[Any] = [
    pytest.param(BEFORE_NOON, Covered({"s": ("i-1",)}), [("hourly", ["s"], [])], id="due"),
    pytest.param(SINCE_NOON, Covered({"s": ("i-1",)}), [], id="run already"),
    pytest.param(LONG_BEFORE, Covered({"s": ("i-1",)}), [("hourly", ["s"], [])], id="many missed: one run"),
    pytest.param(BEFORE_NOON, Covered({}), [("hourly", [], ["s"])], id="nothing selected"),
    pytest.param(BEFORE_NOON, UNSEEN, [], id="EC2 is silent: wait"),
    pytest.param(NOON - 12 * MINUTE, UNSEEN, [], id="EC2 is silent, and it is not late yet"),
]


@pytest.mark.parametrize(("ran_until", "covered", "expected"), SCHEDULES)
def test_a_scheduled_rule_runs_once_when_it_is_due(
    ran_until: datetime, covered: Covered, expected: list[Any]
) -> None:
    assert _opened(_view(_stored(HOURLY, ran_until=ran_until), covered)) == expected


@pytest.mark.parametrize(
    ("more", "unseen"),
    [({"now": NOON + 30 * MINUTE}, True), ({"refused": True}, True)],
    ids=["it is late", "EC2 refuses"],
)
def test_word_is_left_of_a_run_that_cannot_be_seen_and_it_does_not_count_as_run(
    more: dict[str, Any], unseen: bool
) -> None:
    [run] = plan_tick(_view(_stored(HOURLY, ran_until=BEFORE_NOON), UNSEEN, **more), [])
    assert (run.targets, run.is_run, run.cause.unseen) == ((), False, unseen)
    [(target, why)] = run.missed
    assert target.lineage.service == "s"
    assert "EC2 does not answer" in why


def test_a_run_counts_as_run_up_to_its_nominal_time() -> None:
    [run] = plan_tick(_view(_stored(HOURLY, ran_until=BEFORE_NOON), Covered({"s": ("i-1",)})), [])
    assert (run.is_run, run.cause.nominal_at) == (True, NOON)


AGES: list[Any] = [
    pytest.param(_record(AGED), {}, [("aged", ["s"], [])], id="no point at all"),
    pytest.param(_record(AGED, newest=_in_primary(NOON - MINUTE)), {}, [], id="young enough"),
    pytest.param(_record(AGED, newest=_in_primary(NOON - 2 * HOUR)), {}, [("aged", ["s"], [])], id="too old"),
    pytest.param(
        _record(AGED, last_job="j"), {"j": (JobState.RUNNING, NOON - HOUR)}, [], id="one still runs"
    ),
    pytest.param(
        _record(AGED, last_job="j"), {"j": (JobState.FAILED, NOON)}, [], id="one ended a short time ago"
    ),
    pytest.param(
        _record(AGED, last_job="j"),
        {"j": (JobState.FAILED, NOON - HOUR)},
        [("aged", ["s"], [])],
        id="one failed long ago",
    ),
]


@pytest.mark.parametrize(("record", "last_jobs", "expected"), AGES)
def test_a_rule_with_an_rpo_runs_when_a_point_would_grow_too_old(
    record: LineageRecord, last_jobs: dict[str, Any], expected: list[Any]
) -> None:
    view = _view(_stored(AGED, ran_until=NOON), Covered({"s": ("i-1",)}), record, last_jobs=last_jobs)
    assert _opened(view) == expected


def test_services_of_one_rule_are_judged_apart() -> None:
    records = (
        _record(AGED, newest=_in_primary(NOON)),
        _record(AGED, "t", newest=_in_primary(NOON - 2 * HOUR)),
    )
    assert _opened(_view(_stored(AGED, ran_until=NOON), BOTH, *records)) == [("aged", ["t"], [])]


def _failed(**more: Any) -> LineageRecord:
    retry = Retry(
        **{"job": "j", "nominal_at": NOON, "tries": 0, "at": NOON + MINUTE, "reason": "it broke", **more}
    )
    return _record(HOURLY, retry=retry, due_job="j")


def test_a_failed_run_is_tried_again_with_its_own_nominal_time() -> None:
    [run] = plan_tick(_view(_stored(HOURLY, ran_until=NOON), Covered({"s": ("i-1",)})), [_failed()])
    assert (run.cause.nominal_at, run.cause.tries, run.is_run) == (NOON, 1, False)
    assert "it broke" in run.cause.reason


def test_a_try_whose_service_is_gone_is_recorded_as_missed() -> None:
    assert _opened(_view(_stored(HOURLY, ran_until=NOON), Covered({})), [_failed()]) == [
        ("hourly", [], ["s"])
    ]


OF_NO_USE: list[Any] = [
    pytest.param(_failed(tries=3), NOON + MINUTE, id="tried often enough"),
    pytest.param(_failed(), NOON + HOUR, id="the next run is due"),
    pytest.param(replace(_failed(), due_job="k"), NOON + MINUTE, id="another run came since"),
    pytest.param(_record(HOURLY, due_job="j"), NOON + MINUTE, id="nothing failed"),
]


@pytest.mark.parametrize(("record", "now"), OF_NO_USE)
def test_a_try_that_is_of_no_use_is_not_made(record: LineageRecord, now: datetime) -> None:
    plan = _stored(HOURLY, ran_until=NOON).plan
    assert rule_to_try(plan, _failed(), NOON + MINUTE) == HOURLY
    assert rule_to_try(plan, record, now) is None


def test_ec2_is_asked_only_when_something_may_be_due() -> None:
    ten = timedelta(minutes=10)
    assert not is_due(_stored(HOURLY, ran_until=NOON), NOON + ten)
    assert is_due(_stored(HOURLY, ran_until=NOON), NOON + HOUR)
    assert is_due(_stored(AGED, ran_until=NOON), NOON + ten)
