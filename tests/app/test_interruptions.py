"""Every kind of job, interrupted before and after each AWS call made for it, ends as if it had not been.

A run plays a part of the interruptions, with EXHAUSTIVE=1 all of them (`tests/support/thoroughness.py`).

The calls of all functions count, from the moment the job is opened until the world is at rest: the worker's,
those of the completions function that pokes it, and those of the jobs that follow.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.app.playing import Operation, calls_made, play, rest
from tests.app.stories import STORIES
from tests.support.deployment import Deployment, Document, snapshot_rule
from tests.support.thoroughness import sample

Note = Callable[[str, object], None]
"""pytest's `record_property`."""


@pytest.mark.timeout(1200)  # all interruptions of the longest story, on a busy machine
@pytest.mark.parametrize("name", STORIES)
def test_a_job_that_is_interrupted_ends_as_if_it_had_not_been(
    app: Deployment, record_property: Note, name: str
) -> None:
    story = STORIES[name]
    instance = story.prepare(app)
    play(app, story, instance)  # opens what is kept open: clients, vaults
    undisturbed, calls = play(app, story, instance)
    assert undisturbed[0] == story.state, undisturbed
    faults = _sample(calls, record_property, [*STORIES].index(name))
    ends = {where: play(app, story, instance, fault)[0] for where, fault in faults}
    assert {where: end for where, end in ends.items() if end != undisturbed} == {}
    rest(app, lambda: app.unfinished())
    assert app.discrepancies() == []


def test_a_tick_that_is_interrupted_opens_each_run_once(app: Deployment, record_property: Note) -> None:
    app.run_instance("orders")
    daily = snapshot_rule(schedule="cron(0 0 * * ? *)", volumes={"boot": False})
    app.put_plan("orders", daily)
    app.take_no_inventory()
    _play_midnight(app)
    undisturbed, calls = _play_midnight(app)
    assert Counter(kind for kind, *_ in undisturbed) == {"backup": 1, "expire": 2}
    faults = _sample(calls, record_property)
    ends = {where: _play_midnight(app, fault)[0] for where, fault in faults}
    assert {where: end for where, end in ends.items() if end != undisturbed} == {}
    assert app.discrepancies() == []


def _play_midnight(app: Deployment, *faults: Document) -> tuple[list[tuple[str, ...]], Counter[Operation]]:
    """Let the day's first tick meet faults; return what jobs it led to, and the calls made."""
    midnight = app.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    app.skip_to(midnight - timedelta(seconds=5))
    known = {job["id"] for job in app.jobs()}
    app.faults(*faults)
    before = calls_made(app)
    app.pass_until(midnight + timedelta(seconds=1))
    calls = calls_made(app) - before
    app.faults()
    app.pass_time(minutes=20)
    rest(app, lambda: app.unfinished())
    jobs = [job for job in app.jobs() if job["id"] not in known]
    return sorted((job["kind"], job["state"], str(job["late"])) for job in jobs), calls


@pytest.mark.long
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


def _sample(calls: Counter[Operation], note: Note, turn: int = 0) -> list[tuple[str, Document]]:
    """Return the interruptions to play, before or after calls; note how many of how many they are."""
    moments = [_interruptions(calls, moment) for moment in ("before", "after")]
    both = {operation: [each for made in moments for each in made[operation]] for operation in moments[0]}
    faults = sample(both, turn)
    note("interruptions", [len(faults), 2 * calls.total()])
    return faults


def _interruptions(calls: Counter[Operation], moment: str) -> dict[Operation, list[tuple[str, Document]]]:
    """Make, for each call of each operation, the fault that kills the function then; say where it is."""
    return {
        (service, operation): [
            (
                f"{moment} {operation} {skip + 1}",
                {
                    "match": {"service": service, "operation": operation, "caller": "function"},
                    "effect": {"kill": moment},
                    "skip": skip,
                    "count": 1,
                },
            )
            for skip in range(count)
        ]
        for (service, operation), count in sorted(calls.items())
    }
