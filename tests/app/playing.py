"""How a story is played with faults: the job is opened, meets them, and the world comes to rest."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from local_cloud.control.faults import Caller
from tests.app.stories import Story
from tests.support.deployment import Deployment, Document

FIVE_MINUTES = timedelta(minutes=5)
UNFINISHED = ("QUEUED", "RUNNING")
PATIENCE = timedelta(hours=1)
"""Simulated time in which a job must have ended, whatever it met."""
Operation = tuple[str, str]
End = tuple[str, object]
Meanwhile = Callable[[Deployment, str], object]


def until_it_is_done(app: Deployment, job_id: str) -> None:
    """Let as much time pass as a job takes that nothing disturbs."""
    app.pass_time(seconds=45)


def play(
    app: Deployment,
    story: Story,
    instance: str,
    *faults: Document,
    meanwhile: Meanwhile = until_it_is_done,
) -> tuple[End, Counter[Operation]]:
    """Play a story with faults; return its end, and the calls made.

    The faults are in force while `meanwhile` lets time pass; it is told the job.
    """
    context = story.before(app, instance)
    just_after_a_tick(app)
    job_id = story.start(app, context)
    app.faults(*faults)
    before = calls_made(app)
    meanwhile(app, job_id)
    calls = calls_made(app) - before
    app.faults()
    rest(app, lambda: app.job(job_id)["state"] in UNFINISHED)
    job = app.job(job_id)
    as_told = job["state"] == story.state
    return (job["state"], story.end(app, job, context) if as_told else job["reason"]), calls


def calls_made(app: Deployment) -> Counter[Operation]:
    """Count the functions' calls so far."""
    calls = app.cloud.calls.by_operation(Caller.FUNCTION)
    return Counter(
        {
            (service, operation): count
            for service, operations in calls.items()
            for operation, count in operations.items()
        }
    )


def rest(app: Deployment, busy: Callable[[], object]) -> None:
    """Let time pass while the app is busy."""
    deadline = app.now + PATIENCE
    while busy() and app.now < deadline:
        app.pass_time(minutes=5)


def just_after_a_tick(app: Deployment) -> None:
    past = timedelta(minutes=app.now.minute % 5, seconds=app.now.second)
    app.pass_until(app.now - past + FIVE_MINUTES + timedelta(seconds=30))
