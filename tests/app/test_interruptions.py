"""Every kind of job, interrupted before and after each AWS call made for it, ends as if it had not been.

All calls of all functions count, from the moment the job is opened until the world is at rest: the worker's,
those of the completions function that pokes it, and those of the jobs that follow.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.app.deployment import Deployment, Document, service_rule, snapshot_rule

FIVE_MINUTES = timedelta(minutes=5)
UNFINISHED = ("QUEUED", "RUNNING")
PATIENCE = timedelta(hours=1)
"""Simulated time in which a job must have ended, whatever it met."""


@dataclass(frozen=True, slots=True)
class Story:
    """What is interrupted: what it needs, done undisturbed; how it starts; what its end looks like."""

    prepare: Callable[[Deployment], str]
    """Make the plan and the instance; name the instance."""
    before: Callable[[Deployment, str], Document]
    start: Callable[[Deployment, Document], str]
    end: Callable[[Deployment, Document, Document], object]
    state: str = "COMPLETED"


def _nothing(app: Deployment, instance: str) -> Document:
    return {"instance": instance}


def _point_made(app: Deployment, instance: str) -> Document:
    job_id = app.back_up("orders")
    app.pass_time(seconds=45)
    return {"instance": instance, "point": app.point(app.job(job_id)["recovery_point"])}


def _point_there(app: Deployment, instance: str) -> Document:
    points = app.points()
    return {"instance": instance, "point": points[0]} if points else _point_made(app, instance)


def _older_point(app: Deployment, instance: str) -> Document:
    """Name the oldest point there is, and have a newer one."""
    older = app.points(state="AVAILABLE")[:1]
    _point_made(app, instance)
    if not older:
        return _older_point(app, instance)
    return {"instance": instance, "point": older[0]}


def _planned(*rules: Document) -> Callable[[Deployment], str]:
    def prepare(app: Deployment) -> str:
        instance = app.run_instance("orders")
        app.put_plan("orders", *rules)
        return instance

    return prepare


def _delete(app: Deployment, context: Document) -> str:
    answer = app.ask("DELETE", f"/recovery-points/{context['point']['id']}", status=202)
    return str(answer.document["jobs"][0])


def _made_point(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(job["recovery_point"]))


def _made_file(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(job["recovery_point"])), _runs(app, job, context, "ran")


def _made_volumes(app: Deployment, job: Document, context: Document) -> object:
    restored = app.restored_volumes(job["vault"]).values()
    mine = [volume for volume in restored if _tags(volume)["farshore:job"] == job["id"]]
    return sorted((volume["State"], volume["Size"]) for volume in mine)


def _restored(app: Deployment, job: Document, context: Document) -> object:
    written = (app.folder(context["instance"]) / "restored").read_bytes()
    original = next(each for each in context["point"]["artefacts"] if each["vault"] == "primary")
    return written == app.read("primary", original["key"]), _runs(app, job, context, "restores")


def _runs(app: Deployment, job: Document, context: Document, log: str) -> object:
    """Count how often the user's script of a job ran, and the commands sent for it."""
    lines = (app.folder(context["instance"]) / log).read_text().split()
    commands = app.cloud.client("ssm", "eu-central-1").get_paginator("list_commands").paginate()
    comments = Counter(command["Comment"] for page in commands for command in page["Commands"])
    return lines.count(job["id"]), comments[f"farshore {job['id']}"]


def _gone(app: Deployment, job: Document, context: Document) -> object:
    return _shape(app.point(context["point"]["id"]))


ALL_COPIES = [{"vault": "dr"}, {"vault": "offsite"}]
STORIES = {
    "backup by snapshot": Story(
        _planned(snapshot_rule()), _nothing, lambda app, _: app.back_up("orders"), _made_point
    ),
    "backup by script": Story(
        _planned(service_rule()), _nothing, lambda app, _: app.back_up("orders"), _made_file
    ),
    "backup by a script that fails": Story(
        _planned(service_rule(script='echo "$FARSHORE_JOB" >> ran; echo half > "$2"; exit 3')),
        _nothing,
        lambda app, _: app.back_up("orders"),
        _made_file,
        "FAILED",
    ),
    "copy of snapshots": Story(
        _planned(snapshot_rule()), _point_made, lambda app, made: app.copy(made["point"], "dr"), _made_point
    ),
    "copy of an object": Story(
        _planned(service_rule()), _point_made, lambda app, made: app.copy(made["point"], "dr"), _made_point
    ),
    "copy in segments": Story(
        _planned(service_rule()),
        _point_made,
        lambda app, made: app.copy(made["point"], "offsite"),
        _made_point,
    ),
    "restore of volumes": Story(
        _planned(snapshot_rule()),
        _point_there,
        lambda app, made: app.restore(made["point"], "primary", availability_zone="eu-central-1a"),
        _made_volumes,
    ),
    "restore of a service": Story(
        _planned(service_rule()),
        _point_there,
        lambda app, made: app.restore(made["point"], "primary", instance_id=made["instance"]),
        _restored,
    ),
    "restore of a service from off-site": Story(
        _planned(service_rule(copies=[{"vault": "offsite"}])),
        _point_there,
        lambda app, made: app.restore(made["point"], "offsite", instance_id=made["instance"]),
        _restored,
    ),
    "deletion of snapshots": Story(
        _planned(snapshot_rule(copies=[{"vault": "dr"}])), _older_point, _delete, _gone
    ),
    "deletion of files": Story(_planned(service_rule(copies=ALL_COPIES)), _older_point, _delete, _gone),
}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", STORIES)
def test_a_job_that_is_interrupted_ends_as_if_it_had_not_been(
    app: Deployment, name: str, moment: str
) -> None:
    story = STORIES[name]
    instance = story.prepare(app)
    _play(app, story, instance, _kill(moment, number=1_000_000))  # opens what is kept open: clients, vaults
    undisturbed, calls = _play(app, story, instance, _kill(moment, number=1_000_000))
    assert undisturbed[0] == story.state, undisturbed
    ends = {number: _play(app, story, instance, _kill(moment, number))[0] for number in range(calls)}
    assert {number: end for number, end in ends.items() if end != undisturbed} == {}
    _rest(app, lambda: app.unfinished())
    assert app.discrepancies() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_tick_that_is_interrupted_opens_each_run_once(app: Deployment, moment: str) -> None:
    app.run_instance("orders")
    daily = snapshot_rule(schedule="cron(0 0 * * ? *)", volumes={"boot": False})
    app.put_plan("orders", daily)
    _play_midnight(app, _kill(moment, number=1_000_000))
    undisturbed, calls = _play_midnight(app, _kill(moment, number=1_000_000))
    assert Counter(kind for kind, *_ in undisturbed) == {"backup": 1, "expire": 2}
    ends = {number: _play_midnight(app, _kill(moment, number))[0] for number in range(calls)}
    assert {number: end for number, end in ends.items() if end != undisturbed} == {}
    assert app.discrepancies() == []


def _play_midnight(app: Deployment, fault: Document) -> tuple[list[tuple[str, ...]], int]:
    """Let the day's first tick meet a fault; return what jobs it led to, and the calls made until then."""
    midnight = app.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    app.skip_to(midnight - timedelta(seconds=5))
    known = {job["id"] for job in app.jobs()}
    app.faults(fault)
    app.pass_until(midnight + timedelta(seconds=1))
    calls = app.faults_met()
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
        app.faults(_kill(moment, number))
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


def _play(app: Deployment, story: Story, instance: str, fault: Document) -> tuple[tuple[str, object], int]:
    """Play a story with a fault; return its end and the number of calls that the functions made."""
    context = story.before(app, instance)
    _just_after_a_tick(app)
    job_id = story.start(app, context)
    app.faults(fault)
    app.pass_time(seconds=45)
    calls = app.faults_met()
    app.faults()
    _rest(app, lambda: app.job(job_id)["state"] in UNFINISHED)
    job = app.job(job_id)
    return (
        job["state"],
        story.end(app, job, context) if job["state"] == story.state else job["reason"],
    ), calls


def _kill(moment: str, number: int) -> Document:
    return {"match": {"caller": "function"}, "effect": {"kill": moment}, "skip": number, "count": 1}


def _rest(app: Deployment, busy: Callable[[], object]) -> None:
    """Let time pass while the app is busy."""
    deadline = app.now + PATIENCE
    while busy() and app.now < deadline:
        app.pass_time(minutes=5)


def _just_after_a_tick(app: Deployment) -> None:
    past = timedelta(minutes=app.now.minute % 5, seconds=app.now.second)
    app.pass_until(app.now - past + FIVE_MINUTES + timedelta(seconds=30))


def _shape(point: Document) -> Document:
    """Describe a point by what does not differ between one run and the next."""
    return {
        "state": point["state"],
        "size": point["size_bytes"],
        "artefacts": {
            each["vault"]: (
                each["state"],
                len(each.get("snapshot_ids", ())),
                each.get("segments"),
                each["verified_at"] is not None,
            )
            for each in point["artefacts"]
        },
    }


def _tags(resource: Document) -> dict[str, Any]:
    return {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
