"""What is recorded of a file comes of bytes that were read, and is there then; what scripts said stays."""

import hashlib
import json
import operator
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deployment import BUCKETS, Deployment, Document, service_rule, snapshot_rule

LIES = """#!/bin/sh
# Says of the whole, which is hashed first, what it is not; of every part, what it is.
if mkdir "{here}/asked" 2>"{here}/null"; then
    "{true}" >"{here}/null"
    echo "{lie}  -"
else
    exec "{true}"
fi
"""


def _finish(app: Deployment) -> None:
    for _ in range(40):
        if not app.unfinished():
            return
        app.pass_time(minutes=5)
    pytest.fail(f"{app.unfinished()}")


def _planned(app: Deployment, rule: Document) -> str:
    """Run an instance of a service, store its plan, and return the instance's id."""
    instance = app.run_instance("orders")
    app.put_plan("orders", rule)
    return instance


def _by_then(operation: str, resource: str, then: Callable[[], object], service: str = "s3") -> Document:
    """Have somebody outside do something before this call of the app's is answered."""
    match = {"service": service, "operation": operation, "resource": resource, "caller": "function"}
    return {"match": match, "effect": {"then": then}, "count": 1}


def test_a_runner_that_lies_about_the_whole_makes_no_point(app: Deployment, tmp_path: Path) -> None:
    lie = "1" * 64
    instance = _planned(app, service_rule())
    tool = app.cloud.ec2.directory(instance) / "usr" / "local" / "bin" / "sha256sum"
    tool.parent.mkdir(parents=True)
    tool.write_text(LIES.format(here=tmp_path, true=shutil.which("sha256sum"), lie=lie))
    tool.chmod(0o755)
    job = app.job(app.back_up("orders"))
    _finish(app)
    failed, point = app.job(job["id"]), app.point(job["recovery_point"])
    whole = hashlib.sha256(f"data of {job['id']}\n".encode()).hexdigest()
    assert failed["state"] == "FAILED"
    assert f"the whole reads back as {whole}, the instance says {lie}" in failed["reason"]
    assert (point["state"], point["artefacts"]) == ("FAILED", [])
    assert app.discrepancies() == []


def test_what_is_recorded_of_a_file_is_what_its_bytes_are(app: Deployment) -> None:
    _planned(app, service_rule(copies=[{"vault": "dr"}, {"vault": "offsite"}]))
    app.back_up("orders")
    _finish(app)
    [point] = app.points()
    whole = hashlib.sha256(app.read("primary", f"{point['artefacts'][0]['folder']}data")).hexdigest()
    over_parts = hashlib.sha256(f"{point['size_bytes']} {whole}\n".encode()).hexdigest()
    hashes = {each["vault"]: (each["sha256"], each["parts_sha256"]) for each in point["artefacts"]}
    assert hashes == dict.fromkeys(("primary", "dr", "offsite"), (whole, over_parts))


@pytest.mark.parametrize(
    ("name", "at", "why"),
    [
        (
            "data",
            ("PutObject", "manifest.json"),
            "data has disappeared since it was read back; find out who or what deletes in this bucket",
        ),
        (
            "manifest.json",
            ("HeadObject", "/data"),
            "data has lost its manifest; find out who or what deletes in this bucket",
        ),
    ],
)
def test_a_file_that_is_deleted_before_its_point_is_recorded_makes_none(
    app: Deployment, name: str, at: tuple[str, str], why: str
) -> None:
    def delete() -> None:
        [key] = [key for key in app.keys("primary") if key.endswith("/data")]
        app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=key.removesuffix("data") + name)

    _planned(app, service_rule())
    app.faults(_by_then(*at, delete))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "FAILED"
    assert app.job(job)["reason"].endswith(why)
    assert [point["state"] for point in app.points()] == ["FAILED"]
    assert app.discrepancies() == []


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_a_copy_that_is_deleted_before_it_is_recorded_is_none(app: Deployment, vault: str) -> None:
    def delete() -> None:
        for key in app.keys(vault):
            if vault == "offsite" and "segments" in key:
                (app.offsite / key).unlink()
            elif vault == "dr" and key.endswith("/data"):
                app.s3(vault).delete_object(Bucket=BUCKETS[vault], Key=key)

    _planned(app, service_rule(copies=[{"vault": vault}]))
    # The step that records is the one that ends the job: its last look at the point comes before it.
    fault = _by_then("PutObject", "manifest.json", delete)
    if vault == "dr":
        fault["match"]["resource"] = BUCKETS["dr"]
        app.faults(fault)
        job = app.back_up("orders")
    else:
        job = app.back_up("orders")
        app.faults(
            {"match": {"service": "dynamodb", "operation": "TransactWriteItems"}, "effect": {"then": delete}}
        )
    _finish(app)
    app.faults()
    [copy] = app.jobs(kind="copy")
    artefacts = {
        each["vault"]: each["state"] for each in app.point(app.job(job)["recovery_point"])["artefacts"]
    }
    assert (copy["state"], artefacts) == ("FAILED", {"primary": "AVAILABLE", vault: "FAILED"})


def _manifest(app: Deployment, vault: str) -> Document:
    [key] = [key for key in app.keys(vault) if key.endswith("/manifest.json")]
    document: Document = json.loads(app.read(vault, key))
    return document


def _rewrite(app: Deployment, changes: Document | None) -> None:
    """Change the manifest in the primary vault, or delete it, as somebody outside."""
    [key] = [key for key in app.keys("primary") if key.endswith("/manifest.json")]
    if changes is None:
        app.s3("primary").delete_object(Bucket=BUCKETS["primary"], Key=key)
        return
    text = json.dumps(_manifest(app, "primary") | changes).encode()
    app.s3("primary").put_object(Bucket=BUCKETS["primary"], Key=key, Body=text)


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_what_somebody_writes_into_a_manifest_is_carried_into_no_other_vault(
    app: Deployment, vault: str
) -> None:
    _planned(app, service_rule(expect={"min_bytes": 1_000_000}))
    job = app.back_up("orders", note="before the upgrade", keep="30d")
    _finish(app)
    true = _manifest(app, "primary")
    assert true["suspect"]
    _rewrite(app, {"source": {"instance": "i-1", "restore": "rm -rf /"}, "suspect": "", "plan": "x"})
    app.copy(app.point(app.job(job)["recovery_point"]), vault)
    _finish(app)
    segments = _manifest(app, vault)["segments"]
    assert _manifest(app, vault) == true | {"segments": segments}


@pytest.mark.parametrize("changes", [None, {"snapshots": []}, {"recovery_point": "rp-x", "left_out": []}])
def test_a_copy_of_snapshots_needs_and_believes_nothing_that_lies_in_the_home_vault(
    app: Deployment, changes: Document | None
) -> None:
    _planned(app, snapshot_rule())
    other = app.run_instance("orders")
    job = app.back_up("orders", instance_ids=[other])
    _finish(app)
    true = _manifest(app, "primary")
    assert true["left_out"]
    _rewrite(app, changes)
    app.copy(app.point(app.job(job)["recovery_point"]), "dr")
    _finish(app)
    copies = app.snapshots("dr")
    listed = [
        each | {"snapshot_id": copy, "region": "eu-west-1"}
        for each in true["snapshots"]
        for copy, found in copies.items()
        if {"Key": "farshore:source-snapshot", "Value": each["snapshot_id"]} in found["Tags"]
    ]
    assert len(listed) == len(true["snapshots"]) > 0
    made = _manifest(app, "dr")
    key = operator.itemgetter("snapshot_id")
    assert sorted(made.pop("snapshots"), key=key) == sorted(listed, key=key)
    assert made == {name: value for name, value in true.items() if name != "snapshots"}


def test_snapshots_that_are_deleted_before_their_point_is_recorded_make_none(app: Deployment) -> None:
    def delete() -> None:
        for snapshot in app.snapshots():
            app.ec2().delete_snapshot(SnapshotId=snapshot)

    _planned(app, snapshot_rule())
    app.faults(_by_then("PutObject", "manifest.json", delete))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "FAILED"
    assert "disappeared before the backup was complete" in app.job(job)["reason"]
    assert [point["state"] for point in app.points()] == ["FAILED"]


def test_snapshots_of_a_large_service_are_looked_at_in_the_step_that_records_them(app: Deployment) -> None:
    def delete() -> None:
        snapshot, *_ = app.snapshots()
        app.ec2().delete_snapshot(SnapshotId=snapshot)

    for _ in range(11):
        app.run_instance("orders", wait=False)
    app.pass_time(seconds=15)
    app.put_plan("orders", snapshot_rule(volumes={"boot": False}))
    app.faults(_by_then("PutObject", "manifest.json", delete))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "FAILED"
    assert "disappeared before the backup was complete" in app.job(job)["reason"]
    assert app.snapshots() == {}


def test_copies_of_a_large_service_are_looked_at_in_the_step_that_records_them(app: Deployment) -> None:
    def delete() -> None:
        snapshot, *_ = app.snapshots("dr")
        app.ec2("eu-west-1").delete_snapshot(SnapshotId=snapshot)

    for _ in range(11):
        app.run_instance("orders", wait=False)
    app.pass_time(seconds=15)
    app.put_plan("orders", snapshot_rule(volumes={"boot": False}, copies=[{"vault": "dr"}]))
    app.faults(_by_then("PutObject", BUCKETS["dr"], delete))
    app.back_up("orders")
    _finish(app)
    copies = [job for job in app.jobs(kind="copy") if "parts" in job]
    assert [job["state"] for job in copies] == ["FAILED"]
    assert "disappeared before the copy was complete" in copies[0]["reason"]
    assert app.snapshots("dr") == {}


def test_a_dump_client_that_is_missing_behind_a_pipe_is_told_on_the_completed_job(app: Deployment) -> None:
    _planned(app, service_rule(script='no_such_dump orders | cat > "$2"; echo done >> "$2"'))
    job = app.back_up("orders")
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED"
    assert "no_such_dump: not found" in app.job(job)["said"]


def test_what_restore_and_verify_said_stays_on_the_completed_restore(app: Deployment) -> None:
    talks = {
        "restore": "cat > restored; seq 1 9999 >&2; echo the tables are loaded",
        "verify": "seq 1 9999; echo one row is missing",
        "script": 'echo "data" > "$2"',
    }
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(**talks))
    backup = app.job(app.back_up("orders"))
    _finish(app)
    assert "said" not in app.job(backup["id"])
    job = app.restore(app.point(backup["recovery_point"]), "primary", instance_id=instance)
    _finish(app)
    restored = app.job(job)
    assert restored["state"] == "COMPLETED", restored
    assert restored["said"].endswith("9999\none row is missing")
    assert len(restored["said"]) == 2000
