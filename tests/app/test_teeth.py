"""What AWS does without being broken: it answers late, or not at all, and shows what was true a while ago.

Two workers are at one job, leases run out under slow workers, answers get lost, indexes and listings lag,
outsiders change tags, and chains of invocations are long: nothing is lost, done twice or wrongly deleted. The
clock stands still but for the time that a test lets pass, so that each test is the same from run to run.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.app.playing import Meanwhile, Operation, calls_made, play, rest, until_it_is_done
from tests.app.stories import STORIES
from tests.support.deployment import Deployment, Document, newest, service_rule, snapshot_rule
from tests.support.thoroughness import every_other

CHANGING = ("Abort", "Cancel", "Complete", "Copy", "Create", "Delete", "Put", "Send", "Transact", "Upload")
"""How the names of calls begin that change something."""
COMMIT = ("dynamodb", "TransactWriteItems")
UPDATE = ("dynamodb", "UpdateItem")
OF_EACH_KIND = (
    "backup by snapshot",
    "backup by script",
    "copy of snapshots",
    "copy in segments",
    "restore of volumes",
    "restore of a service",
    "deletion of snapshots",
)
OF_EACH_WAY = (*OF_EACH_KIND, "copy of an object", "restore of a service from off-site")
STALE = {"match": {"service": "dynamodb", "caller": "function"}, "effect": {"stale": "1h"}}


def _at(operation: Operation, effect: Document, skip: int = 0) -> Document:
    """Make the fault of one call of a function."""
    service, name = operation
    match = {"service": service, "operation": name, "caller": "function"}
    return {"match": match, "effect": effect, "skip": skip, "count": 1}


def _changing(calls: Counter[Operation], turn: int) -> list[tuple[Operation, int]]:
    """Return the last commit, and the first call of each other operation that changes something.

    A run plays half of these others, another half from story to story. Pokes are lost, doubled and late in
    the tests of interruptions.
    """
    others = [
        (operation, 0)
        for operation in sorted(calls)
        if operation[1].startswith(CHANGING) and operation[0] != "sqs" and operation != COMMIT
    ]
    return [(COMMIT, calls[COMMIT] - 1), *every_other(others, turn)]


def _poked_often(app: Deployment, job_id: str) -> None:
    for _ in range(9):
        app.poke(job_id)
        app.pass_time(seconds=5)


def _poked_for_long(app: Deployment, job_id: str) -> None:
    for _ in range(10):
        app.pass_time(minutes=1)
        app.poke(job_id)


# two workers


@pytest.mark.long
@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_two_workers_at_one_job_do_it_once(app: Deployment, name: str) -> None:
    _same_end_whatever_happens(app, name, lambda _: {"hang": "30s"}, _poked_often)


@pytest.mark.long
@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_a_worker_slower_than_its_lease_spoils_nothing(app: Deployment, name: str) -> None:
    """What it calls takes effect before it stalls; its commits arrive after those of the next worker."""
    _same_end_whatever_happens(
        app,
        name,
        lambda operation: {"hang_before" if operation == COMMIT else "hang": "8m"},
        _poked_for_long,
    )


def _same_end_whatever_happens(
    app: Deployment, name: str, effect_at: Callable[[Operation], Document], meanwhile: Meanwhile
) -> None:
    """Play a story with a fault at each call that changes something, and compare the ends."""
    story = STORIES[name]
    instance = story.prepare(app)
    play(app, story, instance)  # opens what is kept open: clients, vaults
    undisturbed, calls = play(app, story, instance)
    ends: dict[tuple[Operation, int], object] = {}
    for operation, skip in _changing(calls, [*STORIES].index(name)):
        fault = _at(operation, effect_at(operation), skip)
        ends[operation, skip], _ = play(app, story, instance, fault, meanwhile=meanwhile)
    assert {where: end for where, end in ends.items() if end != undisturbed} == {}
    rest(app, app.unfinished)
    assert app.discrepancies() == []


# answers that get lost


@pytest.mark.long
@pytest.mark.parametrize("name", OF_EACH_WAY)
def test_what_took_effect_and_was_not_answered_is_not_done_twice(app: Deployment, name: str) -> None:
    _same_end_whatever_happens(app, name, lambda _: {"lose": True}, until_it_is_done)


def test_a_record_that_was_stored_unheard_is_not_stored_twice(app: Deployment) -> None:
    """Leases, and commits of one write, are conditional updates: what the SDK repeats is refused."""
    story = STORIES["restore of volumes"]
    instance = story.prepare(app)
    play(app, story, instance)
    undisturbed, calls = play(app, story, instance)
    ends = [play(app, story, instance, _at(UPDATE, {"lose": True}, skip))[0] for skip in range(calls[UPDATE])]
    assert [end for end in ends if end != undisturbed] == []
    rest(app, app.unfinished)
    assert app.discrepancies() == []


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        (snapshot_rule(), ("ec2", "CreateSnapshots")),
        (service_rule(), ("ssm", "SendCommand")),
        (snapshot_rule(copies=[{"vault": "dr"}]), ("ec2", "CopySnapshot")),
    ],
    ids=["snapshots", "command", "copies"],
)
def test_what_was_made_unheard_is_adopted_though_listings_lag(
    app: Deployment, rule: Document, operation: Operation
) -> None:
    app.run_instance("orders")
    app.put_plan("orders", rule)
    lags = [{"match": {"service": service}, "effect": {"lag": "90s"}} for service in ("ec2", "ssm")]
    app.pass_time(minutes=2)
    app.faults(_at(operation, {"lose": {"code": "InternalError", "status": 500}}), *lags)
    app.back_up("orders")
    app.pass_time(minutes=30)
    app.faults()
    assert {job["state"] for job in app.jobs()} == {"COMPLETED"}
    copies = app.snapshots("dr") if operation[1] == "CopySnapshot" else [1]
    assert app.calls(*operation) == len(copies)
    assert app.discrepancies() == []


def test_a_completion_that_is_told_before_it_is_listed_is_not_lost(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    app.pass_time(minutes=2)
    app.faults({"match": {"service": "ec2"}, "effect": {"lag": "60s"}})
    job = app.back_up("orders")
    app.pass_time(minutes=20)
    app.faults()
    assert app.job(job)["state"] == "COMPLETED"
    assert app.discrepancies() == []


# indexes that are stale


def test_retention_keeps_what_the_table_says_whatever_a_stale_index_shows(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(lifecycle=newest(2)))
    app.faults(STALE)
    jobs = []
    for _ in range(4):
        jobs.append(app.back_up("orders"))
        app.pass_time(minutes=16)
    app.faults()
    points = [app.point(app.job(job)["recovery_point"]) for job in jobs]
    assert [point["state"] == "AVAILABLE" for point in points] == [False, False, True, True]
    assert app.discrepancies() == []


def test_what_a_plan_keeps_by_now_is_kept_though_no_index_shows_the_plan_yet(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(lifecycle=newest(1)))
    app.back_up("orders")
    app.pass_time(minutes=5)
    app.faults(STALE)
    app.put_plan("orders", snapshot_rule(lifecycle=newest(3)))
    for _ in range(2):
        app.back_up("orders")
        app.pass_time(minutes=5)
    app.faults()
    assert [point["state"] for point in app.points()] == ["AVAILABLE"] * 3
    assert app.discrepancies() == []


def test_jobs_end_though_the_index_of_what_is_due_is_stale(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", service_rule(copies=[{"vault": "dr"}, {"vault": "offsite"}]))
    app.faults(
        {**STALE, "effect": {"stale": "12m"}},
        {"match": {"event": "*"}, "effect": {"drop": True}, "count": 2},
    )
    app.back_up("orders")
    app.pass_time(hours=2)
    app.faults()
    assert {job["state"] for job in app.jobs()} == {"COMPLETED"}
    assert app.discrepancies() == []


# outsiders


def test_tags_that_an_outsider_changes_before_a_delete_are_nothing_to_go_by(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    for _ in range(2):
        app.back_up("orders")
        app.pass_time(minutes=5)
    older, newer = app.points()

    swapped: list[str] = []

    def swap_tags() -> None:
        there = app.snapshots()
        ids = [each["artefacts"][0]["snapshot_ids"] for each in (older, newer)]
        tags = [there[snapshots[0]]["Tags"] for snapshots in ids]
        for snapshots, others in zip(ids, reversed(tags), strict=True):
            app.ec2().create_tags(Resources=snapshots, Tags=others)
            swapped.extend(snapshots)

    app.ask("DELETE", f"/recovery-points/{older['id']}", status=202)
    app.faults(_at(("dynamodb", "UpdateItem"), {"then": swap_tags}))  # the worker takes its lease
    app.pass_time(minutes=30)
    assert len(swapped) == 4
    assert app.point(older["id"])["state"] == "DELETED"
    assert app.snapshots().keys() == set(newer["artefacts"][0]["snapshot_ids"])
    assert app.discrepancies() == []


# chains of invocations


@pytest.mark.long
@pytest.mark.parametrize("limited", [False, True], ids=["as deployed", "with Lambda's limit"])
def test_a_job_that_looks_again_and_again_is_not_dropped(app: Deployment, limited: bool) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(), service_rule())
    app.back_up("orders", rule="file")
    app.pass_time(minutes=2)
    (point,) = app.points()
    functions = app.cloud.functions
    functions.add(replace(functions.get("farshore-AdvanceJobs"), may_loop=not limited))
    app.faults({"match": {"operation": "SendCommand"}, "effect": {"kill": "before"}})
    app.restore(point, "primary", instance_id=instance)
    app.pass_time(seconds=30)
    before = calls_made(app)
    job = app.back_up("orders", rule="snap")
    app.pass_time(minutes=31)
    looks = (calls_made(app) - before)["ec2", "DescribeInstances"]
    assert looks <= 31 + 2 * 7  # once a minute, and at the ticks
    assert looks >= 30 or limited
    assert app.job(job)["state"] == "RUNNING"
    app.faults()
    app.pass_time(minutes=12)
    assert app.job(job)["state"] == "COMPLETED"
    assert bool(app.dead_letters()) == limited
