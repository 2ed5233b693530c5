"""What follows a finished backup."""

from datetime import UTC, datetime

from chalicelib.backup.handover import follow_ups
from chalicelib.catalog.job import Job
from chalicelib.catalog.recovery_point import PointId, PointState, RecoveryPoint
from chalicelib.catalog.requests import Occasion, backup_request
from chalicelib.plans.model import Kind, parse_plan, rule_document

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def _job(kind: str, deployment: str = "one", **more: str) -> Job:
    rule = {"name": "r", "kind": kind, "rpo": "1h", "lifecycle": {"count": 3}, **more}
    document = {
        "name": "p",
        "selection": {"tags": {"a": "b"}},
        "rules": [{**rule, "copies": [{"vault": "dr"}]}],
    }
    plan = parse_plan(document, vaults=None)
    return backup_request(
        plan="p",
        rule="r",
        kind=Kind(kind),
        service="s",
        instances=["i-1"],
        occasion=Occasion(NOON, "test"),
        rule_document=rule_document(plan.rules[0]),
        deployment=deployment,
    ).opened(NOON)


def _point(job: Job) -> RecoveryPoint:
    point_id = PointId(job.work["recovery_point"])
    return RecoveryPoint(
        point_id, "s", "p", "r", Kind(job.method), PointState.AVAILABLE, NOON, NOON, source={}
    )


def test_a_vault_that_the_settings_no_longer_name_does_not_fail_a_good_backup() -> None:
    for job in (_job("snapshot"), _job("service", script="/backup")):
        known = follow_ups(job, _point(job), {"primary": "s3", "dr": "s3"}, NOON)
        assert follow_ups(job, _point(job), {"primary": "s3"}, NOON) == known


def test_two_deployments_with_plans_of_one_name_share_neither_job_nor_point() -> None:
    one, other = _job("snapshot", "one"), _job("snapshot", "other")
    assert one.id != other.id
    assert one.work["recovery_point"] != other.work["recovery_point"]
