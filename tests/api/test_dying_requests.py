"""A request that dies half way can be made again under its key."""

from datetime import timedelta

import pytest

from tests.farshore import Farshore

PLAN = {
    "selection": {"tags": {"app": "orders"}},
    "rules": [{"name": "daily", "kind": "snapshot", "rpo": "1d", "lifecycle": {"count": 3}}],
}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_key_of_a_request_that_died_is_free_when_its_time_is_up(app: Farshore, moment: str) -> None:
    app.launch(app="orders")
    app.put_plan("orders", PLAN)
    killed = {"match": {"operation": "DescribeInstances", "caller": "function"}, "effect": {"kill": moment}}
    app.cloud.faults.replace([killed | {"count": 1}])
    wanted = {"plan": "orders", "rule": "daily"}

    assert app.ask("POST", "/backups", wanted, key="k").status == 502
    app.ask("POST", "/backups", wanted, key="k").problem(409)
    app.cloud.advance(timedelta(seconds=30))
    jobs = app.post("/backups", wanted, key="k")

    assert app.post("/backups", wanted, key="k") == jobs
    assert [job["id"] for job in app.everything("/jobs", kind="backup")] == jobs
