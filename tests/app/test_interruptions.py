"""Every kind of job, interrupted before and after each AWS call made for it, ends as if it had not been.

The calls of all functions count, from the moment the job is opened until the world is at rest: the worker's,
those of the completions function that pokes it, and those of the jobs that follow.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from local.faults import Caller
from tests.app.deployment import Deployment, Document, snapshot_rule
from tests.app.stories import STORIES, Story

FIVE_MINUTES = timedelta(minutes=5)
UNFINISHED = ("QUEUED", "RUNNING")
PATIENCE = timedelta(hours=1)
"""Simulated time in which a job must have ended, whatever it met."""
Operation = tuple[str, str]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", STORIES)
def test_a_job_that_is_interrupted_ends_as_if_it_had_not_been(
    app: Deployment, name: str, moment: str
) -> None:
    story = STORIES[name]
    instance = story.prepare(app)
    _play(app, story, instance)  # opens what is kept open: clients, vaults
    undisturbed, calls = _play(app, story, instance)
    assert undisturbed[0] == story.state, undisturbed
    ends = {where: _play(app, story, instance, fault)[0] for where, fault in _interruptions(calls, moment)}
    assert {where: end for where, end in ends.items() if end != undisturbed} == {}
    _rest(app, lambda: app.unfinished())
    assert app.discrepancies() == []


def _play(
    app: Deployment, story: Story, instance: str, *faults: Document
) -> tuple[tuple[str, object], Counter[Operation]]:
    """Play a story with faults; return its end, and the calls made."""
    context = story.before(app, instance)
    _just_after_a_tick(app)
    job_id = story.start(app, context)
    app.faults(*faults)
    before = _calls(app)
    app.pass_time(seconds=45)
    calls = _calls(app) - before
    app.faults()
    _rest(app, lambda: app.job(job_id)["state"] in UNFINISHED)
    job = app.job(job_id)
    as_told = job["state"] == story.state
    return (job["state"], story.end(app, job, context) if as_told else job["reason"]), calls


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_tick_that_is_interrupted_opens_each_run_once(app: Deployment, moment: str) -> None:
    app.run_instance("orders")
    daily = snapshot_rule(schedule="cron(0 0 * * ? *)", volumes={"boot": False})
    app.put_plan("orders", daily)
    _play_midnight(app)
    undisturbed, calls = _play_midnight(app)
    assert Counter(kind for kind, *_ in undisturbed) == {"backup": 1, "expire": 2}
    ends = {where: _play_midnight(app, fault)[0] for where, fault in _interruptions(calls, moment)}
    assert {where: end for where, end in ends.items() if end != undisturbed} == {}
    assert app.discrepancies() == []


def _play_midnight(app: Deployment, *faults: Document) -> tuple[list[tuple[str, ...]], Counter[Operation]]:
    """Let the day's first tick meet faults; return what jobs it led to, and the calls made."""
    midnight = app.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    app.skip_to(midnight - timedelta(seconds=5))
    known = {job["id"] for job in app.jobs()}
    app.faults(*faults)
    before = _calls(app)
    app.pass_until(midnight + timedelta(seconds=1))
    calls = _calls(app) - before
    app.faults()
    app.pass_time(minutes=20)
    _rest(app, lambda: app.unfinished())
    jobs = [job for job in app.jobs() if job["id"] not in known]
    return sorted((job["kind"], job["state"], str(job["late"])) for job in jobs), calls


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_request_that_is_interrupted_is_done_once_when_it_is_sent_again(
    app: Deployment, moment: str
) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(volumes={"boot": False}))
    number, status = 0, 0
    while status != 202:
        app.faults({"match": {"caller": "function"}, "effect": {"kill": moment}, "skip": number, "count": 1})
        key = f"{moment} {number}"
        status = app.ask("POST", "/backups", {"plan": "orders"}, key=key).status
        app.faults()
        app.pass_time(seconds=30)
        again = app.ask("POST", "/backups", {"plan": "orders"}, key=key, status=202).document
        app.pass_time(minutes=15)
        assert [job["id"] for job in app.jobs(kind="backup")[number:]] == again["jobs"]
        number += 1
    assert number > 5
    assert app.discrepancies() == []
    assert len(app.points()) == number


def _calls(app: Deployment) -> Counter[Operation]:
    """Count the functions' calls so far."""
    calls = app.cloud.calls.by_operation(Caller.FUNCTION)
    return Counter(
        {
            (service, operation): count
            for service, operations in calls.items()
            for operation, count in operations.items()
        }
    )


def _interruptions(calls: Counter[Operation], moment: str) -> Iterator[tuple[str, Document]]:
    """Make, for each call, the fault that kills the function before or after it, and say where that is."""
    for (service, operation), count in sorted(calls.items()):
        match = {"service": service, "operation": operation, "caller": "function"}
        for skip in range(count):
            fault = {"match": match, "effect": {"kill": moment}, "skip": skip, "count": 1}
            yield f"{moment} {operation} {skip + 1}", fault


def _rest(app: Deployment, busy: Callable[[], object]) -> None:
    """Let time pass while the app is busy."""
    deadline = app.now + PATIENCE
    while busy() and app.now < deadline:
        app.pass_time(minutes=5)


def _just_after_a_tick(app: Deployment) -> None:
    past = timedelta(minutes=app.now.minute % 5, seconds=app.now.second)
    app.pass_until(app.now - past + FIVE_MINUTES + timedelta(seconds=30))
