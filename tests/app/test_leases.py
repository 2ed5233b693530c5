"""One worker at a time advances a job: here the workers are threads, each with the app's own parts."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from chalicelib.catalog.recovery_point import Lineage
from chalicelib.errors import LeaseHeld
from chalicelib.jobs.job import JobId
from chalicelib.jobs.queues import JobQueue
from chalicelib.jobs.work import Cause, Target
from chalicelib.plans.model import Kind, Plan
from chalicelib.settings import read_settings
from chalicelib.wiring import Farshore
from tests.support.deployment import Deployment, service_rule, snapshot_rule

WORKERS = 6
FOR_FIVE_MINUTES = timedelta(minutes=5)
Hire = Callable[[], Farshore]


@pytest.fixture
def hire(app: Deployment, monkeypatch: pytest.MonkeyPatch) -> Hire:
    """Give what makes a worker: a process of its own would have clients of its own."""
    function = app.cloud.functions.get("farshore-AdvanceJobs")
    environment = {**function.environment, "AWS_REGION": function.region}
    monkeypatch.setenv("AWS_ENDPOINT_URL", app.cloud.aws.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return lambda: Farshore(read_settings(environment))


def _opened(app: Deployment, worker: Farshore, kind: Kind) -> JobId:
    """Open a backup that only the test's own workers know of: nothing runs while no time passes."""
    instance = app.run_instance("orders")
    document = snapshot_rule() if kind is Kind.SNAPSHOT else service_rule()
    selection = {"tags": {"app": "orders"}}
    plan = Plan.model_validate({"name": "orders", "selection": selection, "rules": [document]})
    [rule] = plan.rules
    rule_id = worker.opener.rule_ids(plan)[rule.name]
    lineage = Lineage("orders", rule.name, kind, "orders")
    target = Target(lineage, rule_id, [instance], "a test", "eu-central-1")
    (job_id,) = worker.opener.open([target], Cause(app.now, "a test asks for it"))
    return job_id


@pytest.mark.long
@pytest.mark.parametrize("kind", list(Kind))
def test_of_workers_at_one_job_at_once_one_acts(app: Deployment, hire: Hire, kind: Kind) -> None:
    workers = [hire() for _ in range(WORKERS)]
    job_id = _opened(app, workers[0], kind)
    start = Barrier(WORKERS)

    def work(worker: Farshore) -> str:
        worker.jobs.get(job_id)  # its clients are made before the race
        start.wait()
        try:
            worker.engine.advance(job_id, worker.now() + FOR_FIVE_MINUTES, JobQueue.JOBS)
        except LeaseHeld:
            return "held off"
        return "acted"

    with ThreadPoolExecutor(WORKERS) as pool:
        turns = Counter(pool.map(work, workers))
    assert turns["acted"] >= 1
    assert turns.total() == WORKERS
    app.pass_time(minutes=20)
    assert app.job(job_id)["state"] == "COMPLETED"
    assert app.calls("ec2", "CreateSnapshots") + app.calls("ssm", "SendCommand") == 1
    assert app.discrepancies() == []


def test_a_job_that_is_leased_is_not_leased_to_another(app: Deployment, hire: Hire) -> None:
    first, second = hire(), hire()
    job_id = _opened(app, first, Kind.SNAPSHOT)
    assert first.jobs.lease(job_id, now=first.now(), until=first.now() + FOR_FIVE_MINUTES)
    with pytest.raises(LeaseHeld) as held:
        second.engine.advance(job_id, second.now() + FOR_FIVE_MINUTES, JobQueue.JOBS)
    assert timedelta(minutes=4) < held.value.retry_after <= FOR_FIVE_MINUTES
    assert app.snapshots() == {}


def test_the_lease_of_a_dead_worker_runs_out(app: Deployment, hire: Hire) -> None:
    dead = hire()
    job_id = _opened(app, dead, Kind.SNAPSHOT)
    dead.jobs.lease(job_id, now=dead.now(), until=dead.now() + FOR_FIVE_MINUTES)
    app.pass_time(minutes=4)
    assert app.job(job_id)["state"] == "QUEUED"
    assert app.snapshots() == {}
    app.pass_time(minutes=12)
    assert app.job(job_id)["state"] == "COMPLETED"
    assert app.discrepancies() == []


def test_a_worker_that_lost_its_lease_stores_nothing(app: Deployment, hire: Hire) -> None:
    slow, quick = hire(), hire()
    job_id = _opened(app, slow, Kind.SNAPSHOT)
    lost = slow.jobs.lease(job_id, now=slow.now(), until=slow.now() + timedelta(seconds=30))
    assert lost is not None
    app.cloud.clock.advance_to(app.now + timedelta(seconds=31))
    taken = quick.jobs.lease(job_id, now=quick.now(), until=quick.now() + FOR_FIVE_MINUTES)
    assert taken is not None
    late = replace(lost.job, reason="too late")
    for writes in (
        [slow.jobs.saving(lost, late)],
        [slow.jobs.parking(lost, late, slow.now())],
        slow.jobs.finishing(lost, late, slow.now()),
    ):
        assert slow.table.commit(writes) == tuple(writes)
    stored = quick.jobs.get(job_id)
    assert stored is not None
    assert stored.reason == lost.job.reason


def test_a_worker_stores_nothing_over_what_was_stored_meanwhile(app: Deployment, hire: Hire) -> None:
    worker = hire()
    job_id = _opened(app, worker, Kind.SNAPSHOT)
    lease = worker.jobs.lease(job_id, now=worker.now(), until=worker.now() + FOR_FIVE_MINUTES)
    assert lease is not None
    assert worker.table.commit([worker.jobs.saving(lease, lease.job)]) == ()
    again = worker.jobs.saving(lease, lease.job)
    assert worker.table.commit([again]) == (again,)


@pytest.mark.long
@pytest.mark.parametrize(
    ("service", "operation"), [("ec2", "DescribeInstances"), ("ec2", "CreateSnapshots"), ("s3", "PutObject")]
)
def test_a_job_that_kills_every_worker_is_given_up(app: Deployment, service: str, operation: str) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    job_id = app.back_up("orders")
    poison = {"service": service, "operation": operation, "caller": "function"}
    app.faults({"match": poison, "effect": {"kill": "before"}})
    app.pass_time(hours=24)
    job = app.job(job_id)
    assert job["state"] == "FAILED"
    assert "workers died over this job" in job["reason"]
    assert [point["state"] for point in app.points()] == ["FAILED"]
    assert app.snapshots() == {}
