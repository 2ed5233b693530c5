"""Many snapshots to copy: as many at once as EC2 lets run, never more, and never fewer while work waits."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from local_cloud.call import Quotas
from tests.app.conftest import Ground, ground_below
from tests.support.deployment import Deployment, newest, snapshot_rule
from tests.support.thoroughness import amount

SLOTS = 20
COPIES = amount(50, 30)
COPY_TAKES = timedelta(minutes=10)
"""Long, beside what a loaded machine needs to make twenty calls: the clock ticks while they are made."""
HAND_OVER = timedelta(minutes=1)
"""From the end of a copy to the start of the next: the event, the batching window, the work."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Keep a cloud up in which copies take their time."""
    quotas = Quotas(copy_pending=COPY_TAKES)
    with ground_below(tmp_path_factory.mktemp("slow-copies"), quotas) as ground:
        yield ground


def test_twenty_copies_run_at_once_while_work_waits_and_never_more(app: Deployment) -> None:
    for number in range(COPIES):
        app.run_instance("fleet", volumes=1, wait=False, Name=f"member-{number:02}")
    app.pass_time(seconds=30)
    rule = snapshot_rule(volumes={"boot": False}, copies=[{"vault": "dr"}])
    app.put_plan("fleet", rule, service={"tag": "Name"})
    app.ask("POST", "/backups", {"plan": "fleet"}, status=202)
    app.pass_time(minutes=5)
    pending = [_pending(app)]
    while pending[-1]:
        app.pass_until(_newest_copy(app) + COPY_TAKES + HAND_OVER)
        pending.append(_pending(app))
    assert pending == [SLOTS] * (COPIES // SLOTS) + [COPIES % SLOTS, 0]
    app.pass_time(minutes=10)
    assert [job["state"] for job in app.jobs(kind="copy")] == ["COMPLETED"] * COPIES
    assert app.calls("ec2", "CopySnapshot") == COPIES, "a copy was refused and called again"
    assert app.discrepancies() == []


def _pending(app: Deployment) -> int:
    return sum(copy["State"] == "pending" for copy in app.snapshots("dr").values())


def _newest_copy(app: Deployment) -> datetime:
    moment: datetime = max(copy["StartTime"] for copy in app.snapshots("dr").values())
    return moment


@pytest.mark.long
def test_a_source_is_not_deleted_while_its_copy_waits(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(lifecycle=newest(1), copies=[{"vault": "dr"}]))
    quota = {"code": "ResourceLimitExceeded", "message": "Too many snapshot copies in progress."}
    app.faults({"match": {"service": "ec2", "operation": "CopySnapshot"}, "effect": {"error": quota}})
    for _ in range(3):
        app.back_up("orders")
        app.pass_time(minutes=40)
    assert [point["state"] for point in app.points()] == ["AVAILABLE"] * 3
    assert {job["state"] for job in app.jobs(kind="copy")} == {"RUNNING"}
    assert len(app.snapshots("primary")) == 6  # two volumes each
    judged = app.jobs(kind="expire")[-1]["judged"]
    assert [("copy" in each["reason"], each["keep"]) for each in judged[1:]] == [(True, True)] * 2
    app.faults()
    app.pass_time(hours=1)
    assert {job["state"] for job in app.jobs(kind="copy")} == {"COMPLETED"}
    app.back_up("orders")
    app.pass_time(hours=1)
    kept = [{each["vault"]: each["state"] for each in point["artefacts"]} for point in app.points()]
    assert [each["primary"] for each in kept] == ["DELETED"] * 3 + ["AVAILABLE"]
    assert kept[-1]["dr"] == "AVAILABLE"
    assert app.discrepancies() == []


def test_a_copy_that_fails_for_good_gives_its_slot_back(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule(copies=[{"vault": "dr"}]))
    denied = {"code": "UnauthorizedOperation", "status": 403}
    app.faults({"match": {"service": "ec2", "operation": "CopySnapshot"}, "effect": {"error": denied}})
    app.back_up("orders")
    app.pass_time(minutes=20)
    copy, *again = app.jobs(kind="copy")
    assert copy["state"] == "FAILED"
    assert "UnauthorizedOperation" in copy["reason"]
    assert len(again) == 1, "it is made again until it is there"
    assert app.slots_in_use("dr") == 0
    assert app.discrepancies() == []
