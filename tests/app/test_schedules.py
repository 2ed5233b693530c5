"""When backups are made: by schedule and by RPO, through missed ticks, changed clocks and changed plans."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from stage import HOME_REGION
from tests.app.conftest import Deploy
from tests.support.deployment import Deployment, Document, parse_time, service_rule, snapshot_rule

BERLIN = ZoneInfo("Europe/Berlin")
DATA_ONLY = {"boot": False}
IN_BERLIN: Document = {"timezone": "Europe/Berlin", "volumes": DATA_ONLY}
HOURLY = snapshot_rule("hourly", schedule="cron(0 * * * ? *)", volumes=DATA_ONLY)


def _nominal(jobs: list[Document]) -> list[datetime]:
    return [parse_time(job["nominal_at"]) for job in jobs]


def test_missed_ticks_are_caught_up_by_one_late_run(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY)
    noon = app.now.replace(minute=0, second=0, microsecond=0)
    app.pass_until(noon + timedelta(hours=1, minutes=1))
    app.skip_to(noon + timedelta(hours=6, minutes=31))
    app.pass_until(noon + timedelta(hours=7, minutes=10))
    backups = app.jobs(kind="backup")
    assert _nominal(backups) == [noon + timedelta(hours=hours) for hours in (1, 6, 7)]
    assert [job["late"] for job in backups] == [False, True, False]
    assert {job["state"] for job in backups} == {"COMPLETED"}
    assert app.discrepancies() == []


def test_a_tick_that_comes_twice_opens_one_job(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY)
    app.faults({"match": {"event": "Scheduled Event"}, "effect": {"duplicate": 3}})
    app.pass_time(hours=3)
    assert list(Counter(_nominal(app.jobs(kind="backup"))).values()) == [1, 1, 1]
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.parametrize(("change", "hours"), [("forward", (1, 1, 0)), ("back", (0, 0, 1))])
def test_a_nightly_run_is_made_once_where_the_clocks_change(
    app: Deployment, deploy: Deploy, change: str, hours: tuple[int, ...]
) -> None:
    """02:30 is skipped in spring and comes twice in autumn; `hours` are those of UTC, one day before the
    change, on its day and after it."""
    day = next(_clock_changes(app.now, change))
    app = deploy(day - timedelta(days=1))
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule("nightly", schedule="cron(30 2 * * ? *)", **IN_BERLIN))
    expected = [day + timedelta(days=n - 1, hours=hour, minutes=30) for n, hour in enumerate(hours)]
    for night in range(3):
        app.pass_until(day + timedelta(days=night - 1, hours=2, minutes=40))
        app.skip_to(day + timedelta(days=night, minutes=20))
    assert _runs(app, "nightly") == expected
    assert {job["late"] for job in app.jobs(kind="backup")} == {False}


@pytest.mark.long
@pytest.mark.parametrize(("change", "longest"), [("forward", 1), ("back", 2)])
def test_an_hourly_run_is_made_once_where_the_clocks_change(
    app: Deployment, deploy: Deploy, change: str, longest: int
) -> None:
    app = deploy(next(_clock_changes(app.now, change)) - timedelta(hours=2))
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule("often", schedule="cron(30 * * * ? *)", **IN_BERLIN))
    app.pass_time(hours=7)
    runs = _runs(app, "often")
    gaps = [later - earlier for earlier, later in pairwise(runs)]
    assert len(runs) == (7 if change == "forward" else 6)
    assert max(gaps) == timedelta(hours=longest), "the repeated hour's run is not made again"
    assert gaps.count(timedelta(hours=1)) == len(gaps) - (longest - 1)


def _runs(app: Deployment, rule: str) -> list[datetime]:
    return _nominal([job for job in app.jobs(kind="backup") if job["rule"] == rule])


def _clock_changes(after: datetime, change: str) -> Iterator[datetime]:
    """Yield the days on which Berlin's clocks go forward or back."""
    day = after.replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        day += timedelta(days=1)
        morning, evening = (
            (day + timedelta(hours=hours)).astimezone(BERLIN).utcoffset() or timedelta() for hours in (0, 20)
        )
        if morning != evening and (morning < evening) == (change == "forward"):
            yield day


@pytest.mark.long
def test_an_rpo_rule_backs_up_before_the_newest_point_grows_too_old(app: Deployment) -> None:
    app.run_instance("orders")
    rule = snapshot_rule(rpo="1h", volumes=DATA_ONLY)
    del rule["schedule"]
    app.put_plan("orders", rule)
    app.pass_time(hours=6)
    taken = [parse_time(point["created_at"]) for point in app.points()]
    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert timedelta(minutes=45) < min(gaps)
    assert max(gaps) <= timedelta(hours=1)
    assert 6 <= len(taken) <= 8


@pytest.mark.long
def test_an_rpo_rule_opens_no_second_job_while_one_runs(app: Deployment) -> None:
    app.run_instance("orders")
    rule = snapshot_rule(rpo="30m", volumes=DATA_ONLY)
    del rule["schedule"]
    app.put_plan("orders", rule)
    quota = {"code": "ConcurrentSnapshotLimitExceeded"}
    app.faults({"match": {"service": "ec2", "operation": "CreateSnapshots"}, "effect": {"error": quota}})
    app.pass_time(hours=4)
    (job,) = app.jobs(kind="backup")
    assert job["state"] == "RUNNING"
    app.faults()
    app.pass_time(hours=1)
    assert app.job(job["id"])["state"] == "COMPLETED"
    assert len(app.jobs(kind="backup")) <= 4
    assert app.discrepancies() == []


def test_a_plan_that_is_updated_keeps_its_schedule(app: Deployment) -> None:
    app.run_instance("orders")
    daily = snapshot_rule("daily", schedule="cron(0 14 * * ? *)", volumes=DATA_ONLY)
    app.put_plan("orders", daily)
    two = app.now.replace(hour=14, minute=0, second=0, microsecond=0)
    app.pass_until(two - timedelta(minutes=7))
    app.skip_to(two + timedelta(minutes=17))
    app.put_plan(
        "orders", daily | {"lifecycle": {"count": 5}}, service_rule("new", schedule="cron(0 14 * * ? *)")
    )
    app.pass_until(two + timedelta(minutes=30))
    (job,) = app.jobs(kind="backup")
    assert (job["rule"], job["nominal_at"], job["late"]) == ("daily", f"{two:%Y-%m-%dT%H:%M:%SZ}", True)


def test_a_changed_schedule_holds_from_the_change_on(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", HOURLY | {"schedule": "cron(0 0 * * ? *)"})
    app.pass_time(minutes=10)
    app.put_plan("orders", HOURLY | {"schedule": "cron(15 * * * ? *)"})
    app.pass_until(app.now.replace(minute=20, second=0))
    (job,) = app.jobs(kind="backup")
    assert job["nominal_at"] == f"{app.now:%Y-%m-%dT%H}:15:00Z"


def test_what_two_rules_and_two_plans_match_yields_each_point_once(app: Deployment) -> None:
    instance = app.run_instance("orders", env="prod", Name="orders")
    app.put_plan("orders", HOURLY, HOURLY | {"name": "twin"})
    app.put_plan(
        "all", HOURLY, service={"tag": "Name"}, selection={"tags": {"app": ["orders", "o*"], "env": "p*"}}
    )
    app.pass_time(hours=2)
    points = Counter((point["plan"], point["rule"], point["nominal_at"]) for point in app.points())
    assert set(points.values()) == {1}
    assert Counter((plan, rule) for plan, rule, _ in points) == {
        ("orders", "hourly"): 2,
        ("orders", "twin"): 2,
        ("all", "hourly"): 2,
    }
    assert {tuple(point["source"]["instances"]) for point in app.points()} == {(instance,)}
    assert len(app.snapshots()) == 6
    assert app.discrepancies() == []


def test_instances_of_one_service_make_one_point_together(app: Deployment) -> None:
    instances = {app.run_instance("orders") for _ in range(3)}
    app.put_plan("orders", HOURLY)
    app.pass_time(hours=1)
    (point,) = app.points()
    assert set(point["source"]["instances"]) == instances
    assert len(app.snapshots()) == 3


def test_an_instance_that_comes_later_is_backed_up_from_the_next_run_on(app: Deployment) -> None:
    app.put_plan("orders", HOURLY | {"retry": {"attempts": 0}})
    app.pass_time(hours=1)
    assert app.points() == []
    app.run_instance("orders")
    app.pass_time(hours=1)
    assert len(app.points()) == 1


def test_a_stored_plan_that_cannot_be_read_holds_up_no_other(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("damaged", HOURLY)
    app.put_plan("orders", HOURLY)
    dynamodb = app.cloud.client("dynamodb", HOME_REGION)
    (table,) = dynamodb.list_tables()["TableNames"]
    dynamodb.update_item(
        TableName=table,
        Key={"pk": {"S": "plan"}, "sk": {"S": "damaged"}},
        UpdateExpression="SET document = :text",
        ExpressionAttributeValues={":text": {"S": '{"name": "damaged"}'}},
    )
    app.pass_time(hours=2)
    assert {job["plan"] for job in app.jobs(kind="backup")} == {"orders"}
