"""Idempotency keys, after the day for which they are remembered."""

import pytest

from tests.support.deployment import Deployment, snapshot_rule


@pytest.mark.long
def test_a_key_used_again_after_its_day_makes_a_backup_again(app: Deployment) -> None:
    app.run_instance("orders")
    app.put_plan("orders", snapshot_rule())
    jobs = set()
    for _ in range(2):
        answer = app.ask("POST", "/backups", {"plan": "orders"}, key="nightly", status=202)
        jobs.update(answer.document["jobs"])
        app.pass_time(hours=25)
    assert len(jobs) == len(app.points()) == 2
