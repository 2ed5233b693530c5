"""Plans over HTTP: stored, shown, listed, removed, tried out."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import Deployment, Document
from tests.support.farshore import fresh_stage

DAILY: Document = {
    "name": "daily",
    "kind": "snapshot",
    "schedule": "cron(0 3 * * ? *)",
    "lifecycle": {"count": 3},
}
PLAN: Document = {"selection": {"tags": {"app": "orders"}}, "rules": [DAILY]}
YAML = b"""
selection: {tags: {app: orders, env: [prod, "stage*"]}, exclude_tags: {backup: "off"}}
rules:
  - name: nightly            # a comment
    kind: service
    schedule: "cron(15 2 * * ? *)"
    timezone: Europe/Berlin
    script: |
      #!/bin/sh
      tar -cf "$2" .
    restore: tar -xf -
    lifecycle: {keep: {daily: 14, monthly: 6}, min_keep: 2}
    copies: [{vault: dr}, {vault: offsite, lifecycle: {age: 90d}}]
"""
MANUAL: Document = {"manual": {"count": 5}}
NOTHING_GOES: Document = {"would_delete": [], "stays_behind": []}
NOBODY = (
    "the plan selects no instance now (tags app=orders, env=prod|stage*); backups start when one is there"
)
AS_STORED: Document = {
    "name": "orders",
    "service": "orders",
    "selection": {
        "tags": {"app": "orders", "env": ["prod", "stage*"]},
        "exclude_tags": {"backup": "off"},
    },
    "rules": [
        {
            "name": "nightly",
            "kind": "service",
            "schedule": "cron(15 2 * * ? *)",
            "timezone": "Europe/Berlin",
            "script": '#!/bin/sh\ntar -cf "$2" .\n',
            "restore": "tar -xf -",
            "target": "one",
            "timeout": "1h",
            "output": "pipe",
            "expect": {"shrink": "50%"},
            "retry": {"attempts": 3, "pause": "15m"},
            "lifecycle": {"keep": {"daily": 14, "monthly": 6}, "min_keep": 2, **MANUAL},
            "copies": [
                {"vault": "dr"},
                {"vault": "offsite", "lifecycle": {"age": "90d", "min_keep": 1, **MANUAL}},
            ],
        }
    ],
}


@pytest.fixture(scope="module")
def stage(cloud: Cloud) -> Iterator[Deployment]:
    with fresh_stage(cloud) as app:
        yield app


@pytest.fixture
def app(stage: Deployment) -> Iterator[Deployment]:
    """Give a stage without plans."""
    yield stage
    for plan in stage.everything("/plans"):
        assert stage.ask("DELETE", f"/plans/{quote(plan['name'])}").status == 200


@pytest.mark.parametrize(
    "content_type", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"]
)
def test_a_plan_in_yaml_is_stored_with_every_default_filled_in(app: Deployment, content_type: str) -> None:
    answer = app.ask("PUT", "/plans/orders", YAML, content_type=content_type)
    assert answer.status == 200
    assert answer.document == {**AS_STORED, "warnings": [NOBODY], **NOTHING_GOES}
    assert app.get("/plans/orders") == AS_STORED


def test_what_get_answers_can_be_put_again_and_changes_nothing(app: Deployment) -> None:
    app.ask("PUT", "/plans/orders", YAML, content_type="application/yaml")
    stored = app.get("/plans/orders")
    assert app.store_plan("orders", stored) == {**stored, "warnings": [NOBODY], **NOTHING_GOES}
    assert app.get("/plans/orders") == stored


def test_a_name_in_the_body_must_be_the_one_in_the_path(app: Deployment) -> None:
    assert app.ask("PUT", "/plans/orders", {**PLAN, "name": "orders"}).status == 200
    answer = app.ask("PUT", "/plans/orders", {**PLAN, "name": "other"})
    assert answer.fault() == ("/name", "other", "the name in the path, 'orders'")


@pytest.mark.parametrize("name", ["a", "Orders.v2_prod-1", "9lives", "x" * 64])
def test_a_name_of_letters_digits_and_marks_is_taken(app: Deployment, name: str) -> None:
    assert app.store_plan(name, PLAN)["name"] == name
    assert app.get(f"/plans/{name}")["name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a/b",
        ".hidden",
        "-x",
        "ümlaut",
        "a%b",
        "a+b",
        "a#b",
        "a?b",
        "a\\b",
        "x" * 65,
        "日本",
        "'; --",
        "a\nb",
    ],
)
def test_any_other_name_is_refused_with_what_a_name_is(app: Deployment, name: str) -> None:
    pointer, value, expected = app.ask("PUT", f"/plans/{quote(name, safe='')}", PLAN).fault()
    assert (pointer, value) == ("/name", name)
    assert "1 to 64 letters, digits, _ . or -" in expected


def test_every_fault_of_a_plan_is_told_at_once_with_its_place(app: Deployment) -> None:
    rule = {
        "name": "r",
        "kind": "snapshot",
        "schedule": "cron(61 * * * ? *)",
        "lifecycle": {"count": 0},
        "colour": 1,
    }
    answer = app.ask("PUT", "/plans/p", {"selection": {"tags": {}}, "rules": [rule, rule], "on_launch": {}})
    assert answer.faults().keys() == {
        "/on_launch",
        "/rules/0/colour",
        "/rules/0/lifecycle/count",
        "/rules/0/schedule",
        "/rules/1/colour",
        "/rules/1/lifecycle/count",
        "/rules/1/name",
        "/rules/1/schedule",
        "/selection/tags",
    }
    assert app.ask("GET", "/plans/p").status == 404


def test_a_refused_plan_leaves_the_stored_one_as_it_is(app: Deployment) -> None:
    app.store_plan("orders", PLAN)
    before = app.get("/plans/orders")
    app.ask("PUT", "/plans/orders", {**PLAN, "rules": []}).problem(400)
    assert app.get("/plans/orders") == before


def test_a_dry_run_shows_what_is_covered_and_when_and_stores_nothing(app: Deployment) -> None:
    instance, nameless = app.run_instance(app="dry", Name="db-1"), app.run_instance(app="dry")
    plan = {**PLAN, "service": {"tag": "Name"}, "selection": {"tags": {"app": "dry"}}}
    plan["rules"] = [DAILY, {**DAILY, "name": "by-age", "rpo": "2h"}]
    del plan["rules"][1]["schedule"]
    answer = app.ask("PUT", "/plans/dry", plan, query={"dry_run": "true"})
    assert answer.status == 200
    preview = answer.document
    assert preview["covers"] == [{"service": "db-1", "instance_ids": [instance]}]
    assert preview["next_runs"]["by-age"] == ["whenever the newest point would be older than 2 hours"]
    assert [run[10:] for run in preview["next_runs"]["daily"]] == ["T03:00:00Z"] * 3
    assert preview["plan"]["rules"][0]["timezone"] == "UTC"
    assert [nameless in warning for warning in preview["warnings"]] == [True]
    assert app.get("/plans") == {"items": [], "cursor": None}
    assert [job for job in app.everything("/jobs") if job.get("plan") == "dry"] == []
    app.ec2().terminate_instances(InstanceIds=[instance, nameless])


def test_a_dry_run_shows_every_key_that_changes_and_what_the_change_costs(app: Deployment) -> None:
    kept, lost = app.run_instance(app="many", env="prod"), app.run_instance(app="many", env="test")
    copied = {**DAILY, "copies": [{"vault": "dr"}]}
    stored = {"selection": {"tags": {"app": "many"}}, "rules": [copied, {**DAILY, "name": "old"}]}
    app.store_plan("many", stored)
    app.make_point("many", "daily")
    after = {
        "selection": {"tags": {"app": "many", "env": "prod"}},
        "rules": [{**DAILY, "lifecycle": {"count": 2}}],
    }
    preview = app.ask("PUT", "/plans/many", after, query={"dry_run": "true"}).document
    assert [(each["key"], each["after"]) for each in preview["changes"]] == [
        ("selection.tags.env", "prod"),
        ("rules.daily.lifecycle.count", 2),
        ("rules.daily.copies", None),
        ("rules.old", None),
    ]
    costs = [
        "rule old is gone: there are no recovery points of it",
        "rule daily is no longer copied to dr: its 1 point there (of 1 service) stays and no lifecycle "
        "lets it go",
        f"1 instance of many that the stored plan selects now is no longer selected: {lost}",
    ]
    assert preview["warnings"] == costs
    assert preview["covers"] == [{"service": "many", "instance_ids": [kept]}]
    assert app.get("/plans/many")["rules"][0]["lifecycle"]["count"] == 3
    assert app.store_plan("many", after)["warnings"] == costs
    assert app.ask("PUT", "/plans/many", after, query={"dry_run": "true"}).document["changes"] == []
    app.ec2().terminate_instances(InstanceIds=[kept, lost])


@pytest.mark.parametrize("value", ["yes", "1", "", "True"])
def test_a_dry_run_is_true_or_false(app: Deployment, value: str) -> None:
    assert app.ask("PUT", "/plans/p", PLAN, query={"dry_run": value}).fault() == (
        "/dry_run",
        value,
        "true or false",
    )
    assert app.get("/plans")["items"] == []


def test_a_removed_plan_is_gone_and_cannot_be_removed_again(app: Deployment) -> None:
    app.store_plan("orders", PLAN)
    answer = app.ask("DELETE", "/plans/orders")
    assert (answer.status, answer.document) == (200, {"stays_behind": []})
    assert app.ask("GET", "/plans/orders").problem(404)["detail"] == "plan orders: no such plan"
    assert app.ask("DELETE", "/plans/orders").problem(404)["detail"] == "plan orders: no such plan"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 50])
def test_plans_are_listed_by_name_each_once_over_any_number_of_pages(app: Deployment, limit: int) -> None:
    names = [f"plan-{letter}" for letter in "hgfedcba"]
    for name in names:
        app.store_plan(name, PLAN)
    pages = list(app.pages("/plans", limit=limit))
    assert [plan["name"] for page in pages for plan in page] == sorted(names)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)


def test_a_plan_that_goes_while_pages_are_read_moves_none_of_the_others(app: Deployment) -> None:
    for letter in "abcd":
        app.store_plan(letter, PLAN)
    first = app.get("/plans", limit=2)
    app.ask("DELETE", "/plans/b")
    second = app.get("/plans", limit=2, cursor=first["cursor"])
    assert [plan["name"] for plan in second["items"]] == ["c", "d"]


def test_a_plan_in_json_and_in_yaml_are_one(app: Deployment) -> None:
    app.store_plan("one", PLAN)
    app.ask("PUT", "/plans/two", json.dumps(PLAN).encode(), content_type="application/yaml")
    one, two = app.get("/plans/one"), app.get("/plans/two")
    assert {**one, "name": "", "service": ""} == {**two, "name": "", "service": ""}
