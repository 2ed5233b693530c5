"""Idempotency-Key: a request that is repeated under its key is answered again, not done again."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

PLAN: Document = {
    "selection": {"tags": {"app": "orders"}},
    "rules": [
        {
            "name": "files",
            "kind": "service",
            "schedule": NEVER,
            "script": 'echo hello > "$2"',
            "restore": "cat > restored",
            "lifecycle": {"count": 50},
        },
        {"name": "volumes", "kind": "snapshot", "schedule": NEVER, "lifecycle": {"count": 50}},
    ],
}
BACKUP = {"plan": "orders", "rule": "files"}


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Iterator[Deployment]:
    with fresh_stage(cloud) as app:
        app.run_instance(app="orders")
        app.store_plan("orders", PLAN)
        yield app


@pytest.fixture(scope="module")
def point(app: Deployment) -> Document:
    return app.make_point("orders", "files")


@pytest.fixture
def instance(app: Deployment) -> str:
    [found] = app.cloud.ec2.directories()
    return found


def count(app: Deployment, kind: str) -> int:
    return len(app.everything("/jobs", kind=kind))


def test_the_same_key_and_body_get_the_same_jobs_and_no_second_backup(app: Deployment) -> None:
    before = count(app, "backup")
    first = app.post("/backups", BACKUP, key="once")
    app.finish()
    assert app.post("/backups", BACKUP, key="once") == first
    assert app.post("/backups", dict(reversed(BACKUP.items())), key="once") == first
    app.finish()
    assert count(app, "backup") == before + 1


def test_the_same_key_with_another_body_is_refused_and_does_nothing(app: Deployment) -> None:
    app.post("/backups", BACKUP, key="taken")
    before = count(app, "backup")
    for body in ({"plan": "orders"}, {"plan": "orders", "rule": "volumes"}):
        problem = app.ask("POST", "/backups", body, key="taken").problem(422)
        [error] = problem["errors"]
        assert (error["pointer"], error["value"]) == ("/Idempotency-Key", "taken")
        assert error["expected"] == "a key of its own for another body: this one was used before"
    assert count(app, "backup") == before
    app.finish()


def test_without_a_key_every_request_is_one_of_its_own(app: Deployment) -> None:
    assert app.post("/backups", BACKUP) != app.post("/backups", BACKUP)
    app.finish()


def test_other_keys_and_other_routes_are_other_requests(app: Deployment, point: Document) -> None:
    assert app.post("/backups", BACKUP, key="a") != app.post("/backups", BACKUP, key="b")
    app.post(f"/recovery-points/{point['id']}/copies", {"vault": "dr"}, key="a")
    app.finish()


def test_requests_at_the_same_time_under_one_key_make_one_backup(app: Deployment) -> None:
    before = count(app, "backup")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: app.ask("POST", "/backups", BACKUP, key="race"), range(6)))
    assert {answer.status for answer in answers} <= {202, 409}
    [jobs] = {tuple(answer.document["jobs"]) for answer in answers if answer.status == 202}
    assert app.post("/backups", BACKUP, key="race") == list(jobs)
    app.finish()
    assert count(app, "backup") == before + 1


def test_a_restore_and_a_copy_are_made_once_too(app: Deployment, point: Document, instance: str) -> None:
    restore = {"recovery_point": point["id"], "target": {"instance_id": instance}}
    copies = f"/recovery-points/{point['id']}/copies"
    restores, before = [], (count(app, "restore"), count(app, "copy"))
    for _ in range(2):
        restores.append(app.post("/restores", restore, key="restore"))
        copied = app.post(copies, {"vault": "offsite"}, key="copy")
        app.finish()
    assert restores[0] == restores[1]
    assert app.job(copied[0])["state"] == "COMPLETED"
    assert (count(app, "restore"), count(app, "copy")) == (before[0] + 1, before[1] + 1)


def test_a_dry_run_does_not_use_up_the_key_of_the_real_request_silently(
    app: Deployment, point: Document, instance: str
) -> None:
    order = {"recovery_point": point["id"], "target": {"instance_id": instance}}
    assert app.ask("POST", "/restores", {**order, "dry_run": True}, key="dry").status == 200
    app.ask("POST", "/restores", order, key="dry").problem(422)


def test_a_request_that_was_refused_leaves_its_key_free(app: Deployment) -> None:
    app.ask("POST", "/backups", {"plan": "later"}, key="early").problem(404)
    app.store_plan("later", PLAN)
    assert app.ask("POST", "/backups", {"plan": "later"}, key="early").status == 202
    app.ask("DELETE", "/plans/later")
    app.finish()


@pytest.mark.long
@pytest.mark.parametrize("operation", ["DescribeInstances", "PutItem", "SendMessageBatch", "UpdateItem"])
@pytest.mark.parametrize("kill", ["before", "after"])
def test_a_request_that_died_on_its_way_is_done_once_when_it_is_sent_again(
    app: Deployment, operation: str, kill: str
) -> None:
    before, key = count(app, "backup"), f"died {kill} {operation}"
    match = {"operation": operation, "caller": "function"}
    app.cloud.faults.replace([{"match": match, "effect": {"kill": kill}, "count": 1}])
    assert app.ask("POST", "/backups", BACKUP, key=key).status == 502
    app.cloud.faults.replace([])
    # Its first call keeps the key, its last one the answer.
    if (kill, operation) not in (("before", "PutItem"), ("after", "UpdateItem")):
        detail = app.ask("POST", "/backups", BACKUP, key=key).problem(409)["detail"]
        assert detail.startswith(
            f"Idempotency-Key {key!r}: the first request with this key is still being processed"
        )
    app.cloud.advance(timedelta(seconds=30))  # no request is worked on for longer
    [job] = app.post("/backups", BACKUP, key=key)
    app.finish()
    assert app.job(job)["state"] == "COMPLETED"
    assert count(app, "backup") == before + 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_empty_or_too_long_is_refused(app: Deployment, key: str) -> None:
    assert app.ask("POST", "/backups", BACKUP, key=key).fault() == (
        "/Idempotency-Key",
        key if len(key) <= 200 else f"{key[:200]}...",
        "1 to 255 characters",
    )


@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "DeleteItem"])
def test_while_dynamodb_throttles_a_request_with_a_key_is_a_503_and_is_done_once_later(
    app: Deployment, operation: str
) -> None:
    before, key = count(app, "backup"), f"throttled {operation}"
    error = {"code": "ProvisionedThroughputExceededException", "status": 400, "message": "slow down"}
    match = {"service": "dynamodb", "operation": operation, "caller": "function"}
    # What is refused gives its key back, and that is a call of its own.
    body = {**BACKUP, "rule": "none"} if operation == "DeleteItem" else BACKUP
    app.cloud.faults.replace([{"match": match, "effect": {"error": error}}])
    problem = app.ask("POST", "/backups", body, key=key).problem(503)
    app.cloud.faults.replace([])
    assert "ProvisionedThroughputExceededException" in problem["detail"]
    app.cloud.advance(timedelta(seconds=30))  # no request is worked on for longer
    [job] = app.post("/backups", BACKUP, key=f"{key} again" if operation == "DeleteItem" else key)
    app.finish()
    assert app.job(job)["state"] == "COMPLETED"
    assert count(app, "backup") == before + 1
