"""What every route has in common: what cannot be read is refused, with a problem document that says why."""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import Deployment, Document
from tests.support.farshore import fresh_stage

PLAN: Document = {
    "selection": {"tags": {"app": "orders"}},
    "rules": [{"name": "daily", "kind": "snapshot", "rpo": "1d", "lifecycle": {"count": 3}}],
}
LONG = "x" * 3000
LISTS = ("/plans", "/jobs", "/recovery-points", "/status")
POSTS = ("/backups", "/restores", "/recovery-points/rp-1/copies")
ROUTES = (
    *(("GET", path) for path in (*LISTS, "/plans/p", "/jobs/j", "/recovery-points/rp-1")),
    *(("POST", path) for path in POSTS),
    ("PUT", "/plans/p"),
    ("DELETE", "/plans/p"),
    ("DELETE", "/recovery-points/rp-1"),
)


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Iterator[Deployment]:
    """Give one stage to all of these tests, which change nothing."""
    with fresh_stage(cloud) as app:
        yield app


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/plan"),
        ("GET", "/plans/"),
        ("GET", "/plans/a/b"),
        ("GET", "/../plans"),
        ("POST", "/drills"),
    ],
)
def test_a_route_that_there_is_not_is_refused_as_on_aws_and_says_where_the_routes_are(
    app: Deployment, method: str, path: str
) -> None:
    body: Document | None = None if method == "GET" else {}
    assert "docs/api.md" in app.ask(method, path, body).problem(403)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/backups", "POST"),
        ("POST", "/plans", "GET"),
        ("POST", "/plans/p", "DELETE, GET, PUT"),
        ("PATCH", "/plans/p", "DELETE, GET, PUT"),
        ("DELETE", "/jobs/j", "GET"),
        ("PUT", "/recovery-points/rp-1", "DELETE, GET"),
        ("GET", "/recovery-points/rp-1/copies", "POST"),
        ("POST", "/jobs", "GET"),
        ("OPTIONS", "/status", "GET"),
        ("DELETE", "/openapi.json", "GET"),
    ],
)
def test_a_method_that_a_route_has_not_is_a_405_that_names_those_it_has(
    app: Deployment, method: str, path: str, allowed: str
) -> None:
    answer = app.ask(method, path, None if method == "GET" else {})
    assert answer.headers["Allow"] == allowed
    assert answer.problem(405)["detail"].endswith(f" does not have {method}; it has {allowed}")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_query_parameter_that_a_route_does_not_know_is_refused(
    app: Deployment, method: str, path: str
) -> None:
    pointer, value, expected = app.ask(method, path, {}, query={"dryrun": "true"}).fault()
    assert (pointer, value) == ("/dryrun", "true")
    assert re.match(
        "an unknown key(; did you mean dry_run\\?)?; (the keys here are |there are no keys here)", expected
    )


def test_a_restore_with_dry_run_in_the_query_is_not_taken_for_a_real_one(app: Deployment) -> None:
    body = {"recovery_point": "rp-1", "target": {"instance_id": "i-0123456789abcdef0"}}
    pointer, _, _ = app.ask("POST", "/restores", body, query={"dry_run": "true"}).fault()
    assert pointer == "/dry_run"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [b"{", b"plan: orders", b'{"plan": }', b"\xff\xfe", b"{'plan': 'x'}"])
def test_a_body_that_is_no_json_is_refused_with_the_place_where_it_ends_to_be_json(
    app: Deployment, path: str, body: bytes
) -> None:
    pointer, value, expected = app.ask("POST", path, body).fault()
    assert (pointer, value) == ("", body.decode(errors="replace"))
    assert expected.startswith("JSON: ")
    assert "in line 1, column" in expected


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_body_whose_type_nobody_said_is_read_as_json_or_yaml(app: Deployment, content_type: str) -> None:
    rule = b"{name: r, kind: snapshot, rpo: 1d, lifecycle: {count: 3}}"
    yaml = b"selection: {tags: {app: orders}}\nrules:\n- " + rule
    for body in (yaml, json.dumps(PLAN).encode()):
        answer = app.ask("PUT", "/plans/p", body, content_type=content_type, query={"dry_run": "true"})
        assert answer.status == 200, answer.text
    assert "/plan" in app.ask("POST", "/backups", b"plan: [1]", content_type=content_type).faults()


@pytest.mark.parametrize("path", POSTS)
def test_an_empty_body_has_no_keys_and_lacks_those_that_are_required(app: Deployment, path: str) -> None:
    assert any("required: " in expected for expected in app.ask("POST", path, b"").faults().values())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a: [", "YAML: "),
        (b"a: b: c", "YAML: "),
        (b"a: !!python/object/apply:os.getpid []", "no tags such as "),
        (b"a: &x [*y]", "no anchors and aliases"),
    ],
)
def test_a_body_that_is_no_plain_yaml_is_refused(app: Deployment, body: bytes, expected: str) -> None:
    pointer, _, right = app.ask("PUT", "/plans/p", body, content_type="application/yaml").fault()
    assert pointer == ""
    assert right.startswith(expected)


@pytest.mark.parametrize("body", [[], "text", 5, True, None])
def test_a_body_that_is_no_object_is_refused(app: Deployment, body: object) -> None:
    content = b"null" if body is None else body
    for method, path in (*(("POST", path) for path in POSTS), ("PUT", "/plans/p")):
        assert app.ask(method, path, content).fault() == ("", body, "one JSON object")


@pytest.mark.parametrize("content_type", ["application/pdf", "text/html", "multipart/form-data; boundary=x"])
def test_a_body_of_a_type_that_is_not_read_here_is_a_415(app: Deployment, content_type: str) -> None:
    answer = app.ask("PUT", "/plans/p", PLAN, content_type=content_type)
    assert answer.fault(415) == (
        "/Content-Type",
        content_type.partition(";")[0],
        "application/json or application/yaml",
    )


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x-www-form-urlencoded"],
)
def test_what_curl_and_clients_call_json_is_read_as_json(app: Deployment, content_type: str) -> None:
    assert (
        app.ask("PUT", "/plans/p", PLAN, content_type=content_type, query={"dry_run": "true"}).status == 200
    )


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/backups", {}, {"/plan"}),
        ("/backups", {"plan": "p", "rules": ["daily"]}, {"/rules"}),
        ("/backups", {"plan": 1, "rule": None, "instance_ids": "i-1"}, {"/plan", "/rule", "/instance_ids"}),
        ("/backups", {"plan": "", "instance_ids": []}, {"/plan", "/instance_ids"}),
        ("/backups", {"plan": "p", "instance_ids": ["i-1", 2]}, {"/instance_ids/1"}),
        ("/restores", {}, {"/target", ""}),
        ("/restores", {"target": {}}, {""}),
        ("/restores", {"target": {}, "service": "s"}, {""}),
        ("/restores", {"target": {}, "recovery_point": "rp-1", "service": "s", "rule": "r"}, {""}),
        ("/restores", {"target": {}, "recovery_point": "rp-1", "at": "2026-01-01T00:00:00Z"}, {""}),
        (
            "/restores",
            {"target": [], "recovery_point": 1, "dry_run": "yes"},
            {"/target", "/recovery_point", "/dry_run"},
        ),
        ("/restores", {"target": {}, "service": "s", "rule": "r", "at": "yesterday"}, {"/at"}),
        ("/restores", {"target": {}, "service": "s", "rule": "r", "at": "2026-01-01T00:00:00"}, {"/at"}),
        ("/restores", {"target": {}, "service": "s", "rule": "r", "at": 1767225600}, {"/at"}),
        ("/restores", {"target": {}, "service": "s", "rule": "r", "vault": "moon"}, {"/vault"}),
        ("/restores", {"target": {}, "recovery_point": "rp-1", "dryrun": True}, {"/dryrun"}),
        ("/recovery-points/rp-1/copies", {}, {"/vault"}),
        ("/recovery-points/rp-1/copies", {"vault": "dr", "kms_key": "k"}, {"/kms_key"}),
    ],
)
def test_every_fault_of_a_body_is_told_with_its_place(
    app: Deployment, path: str, body: Document, pointers: set[str]
) -> None:
    assert app.ask("POST", path, body).faults().keys() == pointers


@pytest.mark.parametrize("limit", ["0", "-1", "501", "1.5", "ten", "", "1e2", "\u0663"])
@pytest.mark.parametrize("path", LISTS)
def test_a_limit_that_is_no_number_from_1_to_500_is_refused(app: Deployment, path: str, limit: str) -> None:
    expected = "a whole number from 1 to 500"
    pointer, value, right = app.ask("GET", path, query={"limit": limit}).fault()
    assert (pointer, str(value), right) == ("/limit", limit, expected)


@pytest.mark.parametrize(
    "cursor", ["x", "abc", "####", "bm90aGluZw==", "e30=", "W10=", "eyJwayI6IDF9", "\xff"]
)
@pytest.mark.parametrize("path", ["/jobs", "/recovery-points"])
def test_a_cursor_that_is_none_of_ours_is_refused(app: Deployment, path: str, cursor: str) -> None:
    expected = "the `cursor` of the page before, unchanged"
    assert app.ask("GET", path, query={"cursor": cursor}).fault() == ("/cursor", cursor, expected)


@pytest.mark.parametrize("cursor", ["x", "abc", "####", "\xff", "//8="])
@pytest.mark.parametrize("path", ["/plans", "/status", "/readiness"])
def test_a_cursor_that_is_no_base64_text_is_refused(app: Deployment, path: str, cursor: str) -> None:
    expected = "the `cursor` of the page before, unchanged"
    assert app.ask("GET", path, query={"cursor": cursor}).fault() == ("/cursor", cursor, expected)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/jobs", "kind", "backup, copy, restore, expire, inventory, launch, termination or probe"),
        ("/jobs", "state", "QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED"),
        ("/recovery-points", "kind", "snapshot or service"),
        ("/recovery-points", "state", "CREATING, AVAILABLE, EXPIRED, DELETED or FAILED"),
        ("/inventory", "finding", "orphan-snapshot, orphan-volume, orphan-upload, "),
    ],
)
@pytest.mark.parametrize("value", ["nonsense", "Backup", "available", ""])
def test_a_filter_with_a_fixed_set_of_values_refuses_others(
    app: Deployment, path: str, name: str, expected: str, value: str
) -> None:
    pointer, met, right = app.ask("GET", path, query={name: value}).fault()
    assert (pointer, met) == (f"/{name}", value)
    assert right.startswith(expected)


def test_a_filter_that_is_nearly_one_of_a_set_is_told_which(app: Deployment) -> None:
    for path, name, value, meant in (
        ("/jobs", "kind", "backups", "backup"),
        ("/jobs", "state", "Failed", "FAILED"),
        ("/recovery-points", "kind", "snapshots", "snapshot"),
        ("/inventory", "finding", "orphaned-snapshot", "orphan-snapshot"),
    ):
        assert f"; did you mean {meant}?" in app.ask("GET", path, query={name: value}).fault()[2]


def test_a_parameter_that_is_given_twice_is_refused(app: Deployment) -> None:
    assert app.ask("GET", "/jobs?kind=copy&kind=backup").fault() == (
        "/kind",
        "copy, backup",
        "one value: it is given more than once",
    )


@pytest.mark.parametrize(
    "before",
    ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "0001-01-01T00:00:00+10:00", "1767225600"],
)
def test_a_moment_that_is_none_is_refused(app: Deployment, before: str) -> None:
    pointer, value, expected = app.ask("GET", "/recovery-points", query={"before": before}).fault()
    assert (pointer, value) == ("/before", before)
    assert "2026-11-22T14:00:00Z" in expected


@pytest.mark.parametrize("id", ["nope", "rp-0123456789abcdef01234567", "*", "a#b", " ", "ü"])
def test_an_id_that_there_is_not_is_a_404_that_names_it(app: Deployment, id: str) -> None:
    named = quote(id, safe="")
    copy = ("POST", f"/recovery-points/{named}/copies", {"vault": "dr"})
    restore = ("POST", "/restores", {"recovery_point": id, "target": {"instance_id": "i-0123456789abcdef0"}})
    for method, path, body in (
        *(
            (method, f"/{kind}/{named}", None)
            for kind in ("plans", "recovery-points")
            for method in ("GET", "DELETE")
        ),
        ("GET", f"/jobs/{named}", None),
        copy,
        restore,
        ("POST", "/backups", {"plan": id}),
    ):
        assert id[:50] in app.ask(method, path, body).problem(404)["detail"], (method, path[:50])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/jobs", "job"),
        ("/recovery-points", "point"),
        ("/status", "service"),
        ("/readiness", "service"),
        ("/plans", "plan"),
    ],
)
def test_an_empty_stage_has_empty_lists(app: Deployment, path: str, found: str) -> None:
    assert app.get(path) == {"items": [], "cursor": None}, found


def test_an_id_longer_than_any_is_a_404_too(app: Deployment) -> None:
    for path in (f"/plans/{LONG}", f"/jobs/{LONG}", f"/recovery-points/{LONG}"):
        assert "no name and no id is this long" in app.ask("GET", path).problem(404)["detail"]


@pytest.mark.parametrize("path", ["/jobs", "/recovery-points", "/status", "/readiness"])
def test_a_filter_longer_than_any_name_is_refused(app: Deployment, path: str) -> None:
    pointer, value, expected = app.ask("GET", path, query={"service": LONG}).fault()
    assert (pointer, value) == ("/service", f"{LONG[:200]}...")
    assert expected == "a text of 1 to 256 characters, such as orders-db"
    expected = "a text of 1 to 64 characters, such as orders"
    assert app.ask("POST", "/backups", {"plan": LONG}).fault() == ("/plan", f"{LONG[:200]}...", expected)
