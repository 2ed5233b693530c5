"""POST /backups: now, for a plan, one rule of it, or some of its instances."""

from collections.abc import Iterator

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

KEPT = {"schedule": NEVER, "lifecycle": {"count": 50}}
PLAN: Document = {
    "service": {"tag": "Name"},
    "selection": {"tags": {"app": "orders"}, "exclude_tags": {"backup": "off"}},
    "rules": [
        {"name": "volumes", "kind": "snapshot", "volumes": {"boot": False}, **KEPT},
        {"name": "files", "kind": "service", "script": 'hostname > "$2"', **KEPT},
    ],
}


class Fleet:
    """Two instances of one service, one of another, one that is excluded."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.first, self.second = sorted(app.run_instance(app="orders", Name="db") for _ in range(2))
        self.web = app.run_instance(app="orders", Name="web")
        self.excluded = app.run_instance(app="orders", Name="scratch", backup="off")
        app.store_plan("orders", PLAN)

    def back_up(self, **body: object) -> list[Document]:
        """Return the jobs of backups that are over, in the order they were answered."""
        jobs = self.app.post("/backups", {"plan": "orders", **body})
        self.app.finish()
        return [self.app.job(job) for job in jobs]


@pytest.fixture(scope="module")
def fleet(cloud: Cloud) -> Iterator[Fleet]:
    with fresh_stage(cloud) as app:
        yield Fleet(app)


def test_a_plan_is_backed_up_by_every_rule_for_every_service(fleet: Fleet) -> None:
    jobs = fleet.back_up()
    assert {(job["rule"], job["service"], job["state"]) for job in jobs} == {
        (rule, service, "COMPLETED") for rule in ("volumes", "files") for service in ("db", "web")
    }
    points = {job["rule"] + job["service"]: fleet.app.point(job["recovery_point"]) for job in jobs}
    assert sorted(points["volumesdb"]["source"]["instances"]) == [fleet.first, fleet.second]
    assert len(points["volumesdb"]["artefacts"][0]["snapshot_ids"]) == 2
    assert points["filesdb"]["source"]["instances"] == [fleet.first]
    assert points["volumesweb"]["source"]["instances"] == [fleet.web]


def test_one_rule_alone(fleet: Fleet) -> None:
    assert {(job["rule"], job["service"]) for job in fleet.back_up(rule="files")} == {
        ("files", "db"),
        ("files", "web"),
    }


def test_some_instances_alone(fleet: Fleet) -> None:
    [job] = fleet.back_up(rule="volumes", instance_ids=[fleet.second])
    assert fleet.app.point(job["recovery_point"])["source"]["instances"] == [fleet.second]
    [job] = fleet.back_up(rule="files", instance_ids=[fleet.web, fleet.web])
    assert job["instance_id"] == fleet.web


def test_what_is_asked_for_is_told_from_what_was_due(fleet: Fleet) -> None:
    [job] = fleet.back_up(rule="files", instance_ids=[fleet.web])
    point = fleet.app.point(job["recovery_point"])
    assert (job["nominal_at"], job["late"]) == (job["created_at"], False)
    assert point["nominal_at"] == job["nominal_at"]


@pytest.mark.parametrize("strange", ["i-0123456789abcdef0", "i-*", "", "*", "excluded"])
def test_an_instance_that_the_plan_does_not_select_is_refused_and_nothing_begins(
    fleet: Fleet, strange: str
) -> None:
    named = fleet.excluded if strange == "excluded" else strange
    before = fleet.app.everything("/jobs")
    answer = fleet.app.ask("POST", "/backups", {"plan": "orders", "instance_ids": [fleet.web, named]})
    assert answer.fault() == ("/instance_ids", [named], "instances that plan 'orders' selects")
    assert fleet.app.everything("/jobs") == before


def test_a_rule_that_the_plan_does_not_have_is_refused_with_those_it_has(fleet: Fleet) -> None:
    answer = fleet.app.ask("POST", "/backups", {"plan": "orders", "rule": "nightly"})
    assert answer.fault() == ("/rule", "nightly", "a rule of plan orders; there are volumes, files")
    fleet.app.store_plan("empty", {**PLAN, "selection": {"tags": {"app": "nobody"}}})
    assert fleet.app.ask("POST", "/backups", {"plan": "empty", "rule": "nightly"}).fault()[0] == "/rule"
    fleet.app.ask("DELETE", "/plans/empty")


def test_a_plan_that_there_is_not_is_a_404(fleet: Fleet) -> None:
    assert (
        fleet.app.ask("POST", "/backups", {"plan": "none"}).problem(404)["detail"]
        == "plan none: no such plan"
    )


def test_what_comes_while_pages_are_read_moves_nothing(fleet: Fleet) -> None:
    fleet.back_up()
    before = fleet.app.everything("/recovery-points")
    first = fleet.app.get("/recovery-points", limit=2)
    fleet.back_up(rule="files")
    second = fleet.app.get("/recovery-points", limit=2, cursor=first["cursor"])
    assert [*first["items"], *second["items"]] == before[:4]
