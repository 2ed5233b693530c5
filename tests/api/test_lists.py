"""Jobs, recovery points and status as lists: newest first, each once over any number of pages, filtered."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

KEPT = {"schedule": NEVER, "lifecycle": {"count": 50}}
VOLUMES = {"name": "volumes", "kind": "snapshot", **KEPT}
FILES = {
    "name": "files",
    "kind": "service",
    "script": 'echo hello > "$2"',
    "copies": [{"vault": "dr"}],
    **KEPT,
}
BROKEN = {"name": "broken", "kind": "service", "script": "false", **KEPT}
RUNS = 3


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Iterator[Deployment]:
    """Give two plans, two services and points of every rule, some minutes apart; one is deleted."""
    with fresh_stage(cloud) as app:
        for name in ("orders", "web"):
            app.run_instance(app=name, Name=f"{name}-db")
            rules = [VOLUMES, FILES, BROKEN] if name == "orders" else [VOLUMES, FILES]
            plan = {"service": {"tag": "Name"}, "selection": {"tags": {"app": name}}, "rules": rules}
            app.store_plan(name, plan)
        for _ in range(RUNS):
            for name in ("orders", "web"):
                app.post("/backups", {"plan": name})
            app.finish()
            app.cloud.advance(timedelta(minutes=3))
        old = app.everything("/recovery-points", plan="web", rule="files")[-1]
        assert app.ask("DELETE", f"/recovery-points/{old['id']}").status == 202
        app.finish()
        yield app


@pytest.fixture(scope="module")
def jobs(app: Deployment) -> list[Document]:
    return app.everything("/jobs")


@pytest.fixture(scope="module")
def points(app: Deployment) -> list[Document]:
    return app.everything("/recovery-points")


def test_there_is_enough_to_tell_filters_apart(jobs: list[Document], points: list[Document]) -> None:
    assert len(points) == 5 * RUNS
    assert {point["state"] for point in points} == {"AVAILABLE", "DELETED", "FAILED"}
    assert {job["kind"] for job in jobs} == {"backup", "copy", "expire"}
    assert {job["state"] for job in jobs} == {"COMPLETED", "FAILED"}


@pytest.mark.parametrize("limit", [1, 3, 4, 500])
@pytest.mark.parametrize("path", ["/jobs", "/recovery-points"])
def test_a_list_is_newest_first_and_shows_each_once_over_any_number_of_pages(
    app: Deployment, path: str, limit: int
) -> None:
    pages = list(app.pages(path, limit=limit))
    shown = [item for page in pages for item in page]
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1], "a last page with nothing on it"
    assert len(pages) > 3 or limit == 500
    assert len({item["id"] for item in shown}) == len(shown)
    assert [item["created_at"] for item in shown] == sorted(
        (item["created_at"] for item in shown), reverse=True
    )
    assert shown == app.everything(path)


@pytest.mark.parametrize("limit", [2, 5])
@pytest.mark.parametrize(
    "query",
    [
        {"plan": "orders"},
        {"service": "web-db"},
        {"kind": "backup", "state": "COMPLETED"},
        {"service": "orders-db", "kind": "copy"},
        {"state": "FAILED"},
    ],
)
def test_filtered_jobs_are_the_same_over_pages(
    app: Deployment, jobs: list[Document], query: dict[str, str], limit: int
) -> None:
    wanted = [job for job in jobs if all(job[name] == value for name, value in query.items())]
    assert 0 < len(wanted) < len(jobs)
    pages = list(app.pages("/jobs", limit=limit, **query))
    assert [job for page in pages for job in page] == wanted
    assert all(len(page) == limit for page in pages[:-1])


def in_vault(vault: str) -> Callable[[Document], bool]:
    return lambda point: any(each["vault"] == vault for each in point["artefacts"])


@pytest.mark.parametrize("limit", [2, 500])
@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"service": "orders-db"}, lambda point: point["service"] == "orders-db"),
        ({"plan": "web"}, lambda point: point["plan"] == "web"),
        ({"rule": "volumes"}, lambda point: point["rule"] == "volumes"),
        ({"kind": "service"}, lambda point: point["kind"] == "service"),
        ({"state": "FAILED"}, lambda point: point["state"] == "FAILED"),
        ({"state": "DELETED"}, lambda point: point["state"] == "DELETED"),
        ({"vault": "dr"}, in_vault("dr")),
        ({"vault": "primary", "kind": "snapshot"}, lambda point: point["kind"] == "snapshot"),
        (
            {"service": "web-db", "plan": "web", "rule": "files", "state": "AVAILABLE", "vault": "dr"},
            lambda point: (
                (point["service"], point["rule"], point["state"]) == ("web-db", "files", "AVAILABLE")
            ),
        ),
    ],
)
def test_each_filter_of_recovery_points_filters(
    app: Deployment,
    points: list[Document],
    query: dict[str, str],
    fits: Callable[[Document], bool],
    limit: int,
) -> None:
    wanted = [point for point in points if fits(point)]
    assert 0 < len(wanted) < len(points)
    assert app.everything("/recovery-points", limit=limit, **query) == wanted


@pytest.mark.parametrize("query", [{}, {"service": "web-db"}, {"kind": "snapshot"}])
def test_before_gives_the_points_made_earlier(
    app: Deployment, points: list[Document], query: dict[str, str]
) -> None:
    middle = sorted(point["created_at"] for point in points)[len(points) // 2]
    wanted = [
        point
        for point in points
        if point["created_at"] < middle and all(point[name] == value for name, value in query.items())
    ]
    assert wanted
    assert app.everything("/recovery-points", limit=3, before=middle, **query) == wanted
    elsewhere = (datetime.fromisoformat(middle) + timedelta(hours=5, minutes=30)).strftime(
        "%Y-%m-%dT%H:%M:%S+05:30"
    )
    assert app.everything("/recovery-points", before=elsewhere, **query) == wanted


@pytest.mark.parametrize(
    "query",
    [
        {"before": "2020-01-01T00:00:00Z"},
        {"service": "orders-db", "plan": "web"},
        {"rule": "broken", "vault": "dr"},
        {"vault": "offsite"},
    ],
)
def test_what_nothing_fits_is_an_empty_list(app: Deployment, query: dict[str, str]) -> None:
    assert app.get("/recovery-points", **query) == {"items": [], "cursor": None}


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        (
            "/recovery-points",
            {"service": "orders-bd"},
            "; did you mean orders-db?; there are orders-db, web-db",
        ),
        (
            "/jobs",
            {"plan": "wep"},
            "; did you mean web?; there are orders, web",
        ),
        (
            "/recovery-points",
            {"rule": "none"},
            "; there are broken, files, volumes",
        ),
        (
            "/recovery-points",
            {"vault": "off-site"},
            "; did you mean offsite?; there are dr, offsite, primary",
        ),
        (
            "/inventory",
            {"region": "eu-west-3"},
            "; did you mean eu-west-1?; there are eu-central-1, eu-west-1",
        ),
        (
            "/inventory",
            {"vault": "moon"},
            "; there are dr, offsite, primary",
        ),
        ("/status", {"plan": "none"}, "; there are orders, web"),
    ],
)
def test_a_filter_that_names_nothing_there_is_says_what_there_is(
    app: Deployment, path: str, query: dict[str, str], expected: str
) -> None:
    [(name, value)] = query.items()
    pointer, met, right = app.ask("GET", path, query=query).fault()
    assert (pointer, met) == (f"/{name}", value)
    assert right == f"the name of a {name} that is or was there{expected}"


def test_every_filter_that_names_nothing_is_told(app: Deployment) -> None:
    query = {"plan": "none", "rule": "none", "vault": "moon", "kind": "snapshot"}
    assert app.ask("GET", "/recovery-points", query=query).faults().keys() == {"/plan", "/rule", "/vault"}


@pytest.mark.parametrize(
    ("path", "query"),
    [("/recovery-points", {}), ("/jobs", {"service": "orders-db"})],
)
def test_a_cursor_of_another_list_is_refused(app: Deployment, path: str, query: dict[str, str]) -> None:
    cursor = app.get("/jobs", limit=1)["cursor"]
    expected = "the `cursor` of the page before, unchanged"
    answer = app.ask("GET", path, query={**query, "cursor": cursor})
    assert answer.fault() == ("/cursor", cursor, expected)


def test_a_list_and_an_item_show_the_same(
    app: Deployment, jobs: list[Document], points: list[Document]
) -> None:
    assert [app.job(job["id"]) for job in jobs] == jobs
    assert [app.point(point["id"]) for point in points] == points


def test_a_job_has_what_the_design_says(jobs: list[Document]) -> None:
    keys = {
        "id",
        "kind",
        "state",
        "service",
        "plan",
        "rule",
        "nominal_at",
        "created_at",
        "updated_at",
        "reason",
    }
    for job in jobs:
        assert keys <= job.keys()
        assert job["reason"]


def test_a_point_has_what_the_design_says(points: list[Document]) -> None:
    keys = {
        "id",
        "service",
        "plan",
        "rule",
        "kind",
        "state",
        "created_at",
        "source",
        "size_bytes",
        "artefacts",
    }
    for point in points:
        assert keys <= point.keys()
        for artefact in point["artefacts"]:
            assert {"vault", "state", "verified_at"} <= artefact.keys()
            assert ("snapshot_ids" in artefact) == (point["kind"] == "snapshot")
            assert ("sha256" in artefact) == (point["kind"] == "service")


def test_status_counts_what_can_be_restored_by_kind_and_vault(app: Deployment) -> None:
    shown = {each["service"]: each for each in app.get("/status")["items"]}
    assert shown["orders-db"]["points"] == {
        "snapshot": {"primary": RUNS},
        "service": {"primary": RUNS, "dr": RUNS},
    }
    files = len(app.everything("/recovery-points", plan="web", rule="files", state="AVAILABLE"))
    assert shown["web-db"]["points"]["service"] == {"primary": files, "dr": files}
    for query, services in (
        ({"service": "web-db"}, ["web-db"]),
        ({"plan": "orders"}, ["orders-db"]),
        ({"plan": "orders", "service": "web-db"}, []),
    ):
        assert [each["service"] for each in app.get("/status", **query)["items"]] == services
    assert [page[0]["service"] for page in app.pages("/status", limit=1)] == ["orders-db", "web-db"]
