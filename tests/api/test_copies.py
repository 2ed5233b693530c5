"""POST /recovery-points/{id}/copies: a copy where there is none, once, of just what was backed up."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

EXPECTED = "a configured vault; there are dr, offsite"
PLAN: Document = {
    "selection": {"tags": {"app": "orders"}},
    "rules": [
        {
            "name": "volumes",
            "kind": "snapshot",
            "schedule": NEVER,
            "volumes": {"boot": False},
            "lifecycle": {"count": 50},
        },
        {
            "name": "files",
            "kind": "service",
            "schedule": NEVER,
            "script": 'echo hello > "$2"',
            "lifecycle": {"count": 50},
        },
    ],
}


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Iterator[Deployment]:
    with fresh_stage(cloud) as app:
        app.run_instance(app="orders")
        app.store_plan("orders", PLAN)
        yield app


def vaults_of(app: Deployment, point: Document) -> dict[str, str]:
    return {each["vault"]: each["state"] for each in app.point(point["id"])["artefacts"]}


def copy(app: Deployment, point: Document, vault: str) -> Document:
    """Return the job of a copy that is over."""
    [job] = app.post(f"/recovery-points/{point['id']}/copies", {"vault": vault})
    app.finish()
    return app.job(job)


@pytest.mark.parametrize(("rule", "vault"), [("volumes", "dr"), ("files", "dr"), ("files", "offsite")])
def test_a_copy_is_made_once_and_asking_again_is_a_conflict(app: Deployment, rule: str, vault: str) -> None:
    point = app.make_point("orders", rule)
    assert vaults_of(app, point) == {"primary": "AVAILABLE"}
    job = copy(app, point, vault)
    assert (job["state"], job["kind"], job["vault"]) == ("COMPLETED", "copy", vault), job["reason"]
    assert vaults_of(app, point) == {"primary": "AVAILABLE", vault: "AVAILABLE"}
    problem = app.ask("POST", f"/recovery-points/{point['id']}/copies", {"vault": vault}).problem(409)
    assert problem["detail"] == f"copying failed on {point['id']}: it is in {vault} already"


@pytest.mark.parametrize(("rule", "vault"), [("volumes", "dr"), ("files", "dr"), ("files", "offsite")])
def test_a_copy_that_is_under_way_is_not_begun_again(app: Deployment, rule: str, vault: str) -> None:
    point = app.make_point("orders", rule)
    before = app.snapshots("dr")
    path = f"/recovery-points/{point['id']}/copies"
    [first] = app.post(path, {"vault": vault})
    problem = app.ask("POST", path, {"vault": vault}).problem(409)
    assert problem["detail"] == f"copying failed on {point['id']}: {first} copies it into {vault} already"
    app.finish()
    assert app.job(first)["state"] == "COMPLETED"
    assert len(app.snapshots("dr")) - len(before) == (1 if rule == "volumes" else 0)


@pytest.mark.parametrize(
    ("vault", "expected"),
    [
        ("primary", EXPECTED),
        ("moon", EXPECTED),
        ("off-site", "a configured vault; did you mean offsite?; there are dr, offsite"),
        ("", "a text of 1 to 64 characters, such as dr"),
        (5, "a text of 1 to 64 characters, such as dr"),
        (None, "has no value: write one, or leave the key out"),
        (["dr"], "a text of 1 to 64 characters, such as dr"),
        ({"name": "dr"}, "a text of 1 to 64 characters, such as dr"),
    ],
)
def test_a_vault_that_takes_no_copies_is_refused(app: Deployment, vault: object, expected: str) -> None:
    point = app.make_point("orders", "files")
    answer = app.ask("POST", f"/recovery-points/{point['id']}/copies", {"vault": vault})
    assert answer.fault() == ("/vault", vault, expected)


def test_a_snapshot_does_not_go_off_site_yet(app: Deployment) -> None:
    point = app.make_point("orders", "volumes")
    answer = app.ask("POST", f"/recovery-points/{point['id']}/copies", {"vault": "offsite"})
    assert answer.fault() == ("/vault", "offsite", "a vault that holds points of kind snapshot: dr")


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_damage_in_primary_is_not_copied_over(app: Deployment, vault: str) -> None:
    point = app.make_point("orders", "files")
    [artefact] = point["artefacts"]
    app.spoil("primary", artefact["key"], b"jello\n")
    job = copy(app, point, vault)
    assert job["state"] == "FAILED"
    assert f"primary:{artefact['key']} is no longer the object that was backed up" in job["reason"]
    assert vaults_of(app, point)[vault] == "FAILED"
    assert not [key for key in app.keys(vault) if key.startswith(artefact["folder"])]


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_a_copy_whose_original_is_gone_says_so(app: Deployment, vault: str) -> None:
    point = app.make_point("orders", "files")
    [artefact] = point["artefacts"]
    app.spoil("primary", artefact["key"], None)
    job = copy(app, point, vault)
    assert job["state"] == "FAILED"
    assert artefact["key"] in job["reason"]
    assert "does not exist" in job["reason"]


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_what_a_failed_copy_left_is_told_and_let_go_with_its_point(app: Deployment, vault: str) -> None:
    point = app.make_point("orders", "files")
    [artefact] = point["artefacts"]
    manifest = artefact["folder"] + "manifest.json"
    app.spoil("primary", manifest, b"{}")
    job = copy(app, point, vault)
    assert job["state"] == "FAILED"
    assert f"primary:{manifest}: its format version is None" in job["reason"]
    failed = {each["vault"]: each for each in app.point(point["id"])["artefacts"]}[vault]
    assert (failed["state"], failed["reason"] in job["reason"]) == ("FAILED", True)
    app.make_point("orders", "files")
    assert app.ask("DELETE", f"/recovery-points/{point['id']}").status == 202
    app.finish()
    assert app.point(point["id"])["state"] == "DELETED"
    for each in ("primary", vault):
        assert not [key for key in app.keys(each) if key.startswith(artefact["folder"])]


@pytest.mark.long
def test_what_a_failed_copy_left_is_let_go_after_a_day_and_the_original_stays(app: Deployment) -> None:
    point = app.make_point("orders", "files")
    [original] = point["artefacts"]
    manifest = original["folder"] + "manifest.json"
    good = app.read("primary", manifest)
    app.spoil("primary", manifest, good[:100])
    for vault in ("dr", "offsite"):
        assert copy(app, point, vault)["state"] == "FAILED"
        assert [key for key in app.keys(vault) if key.startswith(original["folder"])]
    app.spoil("primary", manifest, good)
    app.cloud.advance(timedelta(hours=25))
    app.make_point("orders", "files")
    for vault in ("dr", "offsite"):
        assert not [key for key in app.keys(vault) if key.startswith(original["folder"])]
    assert vaults_of(app, point) == {"primary": "AVAILABLE", "dr": "FAILED", "offsite": "FAILED"}
    assert app.point(point["id"])["state"] == "AVAILABLE"
    assert copy(app, point, "dr")["state"] == "COMPLETED"
