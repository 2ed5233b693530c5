"""Recovery points are deleted by the function for deletions alone, whoever made what is deleted."""

from collections import defaultdict
from collections.abc import Iterator

import pytest

from local_cloud.recognise import Target
from tests.support.deployment import Deployment, service_rule, snapshot_rule

Callers = dict[str, set[str]]
DELETIONS = {"farshore-AdvanceDeletions"}


@pytest.fixture
def callers(app: Deployment) -> Iterator[Callers]:
    """Note which functions call each operation."""
    called: Callers = defaultdict(set)

    def see(target: Target, environ: object, function: str | None) -> None:
        if function is not None:
            called[target.operation].add(function)

    app.cloud.calls.on_call.append(see)
    yield called
    app.cloud.calls.on_call.remove(see)


def test_what_a_cancelled_backup_made_is_deleted_by_the_function_for_deletions(
    app: Deployment, callers: Callers
) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    job = app.back_up("orders")
    app.pass_time(seconds=1)
    assert app.snapshots()
    app.ask("POST", f"/jobs/{job}/cancel", status=202)
    app.pass_time(minutes=5)
    assert (app.job(job)["state"], app.snapshots()) == ("CANCELLED", {})
    assert callers["CreateSnapshots"] == {"farshore-AdvanceJobs"}
    assert callers["DeleteSnapshot"] == DELETIONS


@pytest.mark.parametrize(
    ("rule", "operation"), [(snapshot_rule(), "DeleteSnapshot"), (service_rule(), "DeleteObject")]
)
def test_what_expires_is_deleted_by_the_function_for_deletions(
    app: Deployment, callers: Callers, rule: dict[str, object], operation: str
) -> None:
    app.run_instance("orders")
    app.put_plan("orders", rule)
    older, _ = (_backed_up(app) for _ in range(2))
    app.pass_time(minutes=5)
    callers.clear()  # of the mailboxes that the worker has removed
    app.ask("DELETE", f"/recovery-points/{older}", status=202)
    app.pass_time(minutes=5)
    assert app.point(older)["state"] == "DELETED"
    assert callers[operation] == DELETIONS


def _backed_up(app: Deployment) -> str:
    """Make a point; return its id."""
    job = app.back_up("orders")
    app.pass_time(minutes=10)
    return str(app.job(job)["recovery_point"])
