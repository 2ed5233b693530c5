"""Filters that name what is gone: it is known as long as a recovery point or a job names it."""

from tests.support.deployment import NEVER, Deployment

VOLUMES = {"name": "volumes", "kind": "snapshot", "schedule": NEVER, "lifecycle": {"count": 50}}


def test_a_plan_that_is_gone_is_known_with_its_rules_and_services(app: Deployment) -> None:
    app.run_instance(app="web", Name="web-db")
    plan = {"service": {"tag": "Name"}, "selection": {"tags": {"app": "web"}}, "rules": [VOLUMES]}
    app.store_plan("web", plan)
    app.make_point("web", "volumes")
    app.store_plan("other", plan)
    app.ask("DELETE", "/plans/web")
    for query in ({"plan": "web"}, {"rule": "volumes"}, {"service": "web-db"}):
        found = app.get("/recovery-points", **query, state="FAILED")
        assert found == {"items": [], "cursor": None}
    assert app.get("/jobs", plan="web", kind="restore")["items"] == []
    assert app.get("/status", plan="web", service="web-db")["items"] != []
