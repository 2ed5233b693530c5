"""Bad input gives a clear error on the job and in the API; nothing kept is lost, nothing half-made stays."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import NEVER, Deployment, Document
from tests.support.farshore import fresh_stage

Spoil = Callable[[bytes], bytes | None]
NO_AGENT = {"local:ssm-agent": "none"}


def service_rule(script: str, **more: Any) -> Document:
    """Make a rule whose restore script leaves a trace of itself and of what it was given."""
    restore = "echo ran >> restore-ran; cat > restored"
    lifecycle = {"count": 50}
    return {
        "name": "files",
        "kind": "service",
        "schedule": NEVER,
        "script": script,
        "restore": restore,
        "lifecycle": lifecycle,
        **more,
    }


def plan_of(*rules: Document, app: str = "orders") -> Document:
    return {"service": {"tag": "Name"}, "selection": {"tags": {"app": app}}, "rules": list(rules)}


class Orders:
    """A service with one good recovery point in every vault; `kept` is what lies in the vaults then."""

    def __init__(self, app: Deployment) -> None:
        self.app = app
        self.instance = app.run_instance(app="orders", Name="orders-db")
        self.write("the orders of today\n" * 5000)
        self.put_rule('cat orders > "$2"', copies=[{"vault": "dr"}, {"vault": "offsite"}])
        self.point = app.make_point("orders", "files")
        self.folder = self.point["artefacts"][0]["folder"]
        self.kept = self.contents()

    def write(self, text: str) -> None:
        (self.app.directory(self.instance) / "orders").write_text(text)

    def put_rule(self, script: str, **more: Any) -> Document:
        return self.app.store_plan("orders", plan_of(service_rule(script, **more)))

    def contents(self) -> dict[tuple[str, str], bytes]:
        return {
            (vault, key): self.app.read(vault, key)
            for vault in ("primary", "dr", "offsite")
            for key in self.app.keys(vault)
        }

    def run(self, plan: str = "orders") -> Document:
        """Return the job of a backup that is over."""
        [job] = self.app.post("/backups", {"plan": plan})
        self.app.finish()
        return self.app.job(job)

    def restore(self, vault: str, **more: Any) -> Document:
        """Return the job of a restore that is over."""
        target = {"instance_id": self.instance}
        order = {"recovery_point": self.point["id"], "vault": vault, "target": target, **more}
        [job] = self.app.post("/restores", order)
        self.app.finish()
        return self.app.job(job)

    def copies_of(self, point: str) -> list[Document]:
        return [job for job in self.app.everything("/jobs", kind="copy") if job["recovery_point"] == point]

    @contextmanager
    def without_container(self) -> Iterator[None]:
        """Have no off-site container for a while."""
        away = self.app.offsite.with_name("away")
        self.app.offsite.rename(away)
        yield
        away.rename(self.app.offsite)

    @property
    def restored(self) -> str | None:
        """Return what the restore script wrote, None when it never ran."""
        directory = self.app.directory(self.instance)
        if not (directory / "restore-ran").exists():
            return None
        return (directory / "restored").read_text()


@pytest.fixture(scope="module")
def shared(cloud: Cloud) -> Iterator[Orders]:
    with fresh_stage(cloud) as app:
        yield Orders(app)


@pytest.fixture
def orders(shared: Orders) -> Iterator[Orders]:
    """Give a service whose recovery point the test may not harm, and see that nothing is left half-made."""
    shared.put_rule('cat orders > "$2"')
    for trace in ("restore-ran", "restored"):
        (shared.app.directory(shared.instance) / trace).unlink(missing_ok=True)
    yield shared
    for (vault, key), content in shared.kept.items():
        assert shared.app.read(vault, key) == content
    assert shared.app.uploads() == []
    assert [key for key in shared.app.keys("primary") if key.startswith("staging/")] == []
    assert shared.app.point(shared.point["id"]) == shared.point


def test_a_plan_that_selects_nothing_is_stored_with_a_warning(orders: Orders) -> None:
    answer = orders.app.store_plan("empty", plan_of(service_rule("true"), app="nobody"))
    assert answer["warnings"] == [
        "the plan selects no instance now (tags app=nobody); backups start when one is there"
    ]
    problem = orders.app.ask("POST", "/backups", {"plan": "empty"}).problem(409)
    assert problem["detail"] == "backing up failed on plan empty: it selects no instance now"
    orders.app.ask("DELETE", "/plans/empty")


def test_an_instance_without_the_tag_that_names_its_service_is_told_of(orders: Orders) -> None:
    nameless = orders.app.run_instance(app="nameless")
    answer = orders.app.store_plan("nameless", plan_of(service_rule("true"), app="nameless"))
    assert nameless in answer["warnings"][-1]
    for body in ({"plan": "nameless"}, {"plan": "nameless", "instance_ids": [nameless]}):
        detail = orders.app.ask("POST", "/backups", body).document["detail"]
        assert f"without the tag that names their service: {nameless}" in detail
    orders.app.ask("DELETE", "/plans/nameless")


@pytest.mark.parametrize(
    ("change", "pointer", "expected"),
    [
        (
            {"timezone": "Mars/Base"},
            "/rules/0/timezone",
            "not a time zone of the IANA database, such as UTC or Europe/Berlin",
        ),
        ({"schedule": "cron(0 25 * * ? *)"}, "/rules/0/schedule", "field hours: '25' is not within 0-23"),
        (
            {"copies": [{"vault": "moon"}]},
            "/rules/0/copies/0/vault",
            "not a configured vault; the vaults configured for copies are dr, offsite",
        ),
        (
            {"copies": [{"vault": "off-site"}]},
            "/rules/0/copies/0/vault",
            "not a configured vault; did you mean offsite?; the vaults configured for copies are dr, offsite",
        ),
        ({"hooks": {"pre": "x"}}, "/rules/0/hooks", "not supported yet; leave it out"),
    ],
)
@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_a_plan_that_cannot_be_served_is_refused_and_the_stored_one_stays(
    orders: Orders, change: Document, pointer: str, expected: str, dry_run: str
) -> None:
    before = orders.app.get("/plans/orders")
    rule = {**service_rule("true"), **change}
    answer = orders.app.ask("PUT", "/plans/orders", plan_of(rule), query={"dry_run": dry_run})
    assert answer.faults() == {pointer: expected}
    assert orders.app.get("/plans/orders") == before


@pytest.mark.parametrize(
    ("script", "more", "why"),
    [
        (
            "echo 'pg_dump: no such database' >&2; exit 3",
            {},
            "the backup script failed: backup script exited 3; its last words: pg_dump: no such database",
        ),
        ("true", {}, "the backup script wrote nothing to its output"),
        (
            'head -c 20000000 /dev/zero > "$2"; echo the disk is gone; kill -9 $$',
            {},
            "the backup script failed: backup script exited 137: it was killed by SIGKILL; did the",
        ),
        (
            "/opt/none/backup",
            {},
            "the script could not be started: backup script /opt/none/backup: there is no such file",
        ),
        (
            'printf half > "$2"; sleep 60',
            {"timeout": "5s"},
            "it ran longer than its timeout of 5 seconds and was stopped",
        ),
        (
            'printf half > "$2"; exit 3',
            {"output": "file"},
            "the backup script failed: backup script exited 3",
        ),
        ("true", {"working_directory": "/nowhere"}, "No such file or directory: /nowhere"),
    ],
    ids=[
        "exits-3",
        "prints-nothing",
        "dies-half-way",
        "is-not-there",
        "runs-past-its-time",
        "fails-with-a-file",
        "has-no-directory",
    ],
)
def test_a_script_that_fails_makes_a_failed_job_that_says_why_and_no_point(
    orders: Orders, script: str, more: Document, why: str
) -> None:
    before = orders.contents()
    orders.put_rule(script, **more)
    job = orders.run()
    assert job["state"] == "FAILED"
    assert job["reason"].startswith(f"backup of orders-db on {orders.instance}: ")
    assert why in job["reason"]
    assert "exit status" not in job["reason"]
    point = orders.app.point(job["recovery_point"])
    assert (point["state"], point["reason"], point["artefacts"]) == ("FAILED", job["reason"], [])
    assert orders.contents() == before


@pytest.mark.parametrize(
    ("stopped", "why"),
    [
        (
            False,
            "waited 15 minutes for the SSM agent of {}, which has never registered (is the agent installed",
        ),
        (True, "waited 15 minutes for a running instance: "),
    ],
    ids=["no-agent", "stopped"],
)
def test_an_instance_that_cannot_run_a_script_is_waited_for_and_named(
    orders: Orders, stopped: bool, why: str
) -> None:
    instance = orders.app.run_instance(app="silent", Name="silent", tags=NO_AGENT)
    if stopped:
        orders.app.ec2().stop_instances(InstanceIds=[instance])
    orders.app.store_plan("silent", plan_of(service_rule("true"), app="silent"))
    began = orders.app.cloud.clock.now()
    job = orders.run("silent")
    assert (job["state"], why.format(instance) in job["reason"]) == ("FAILED", True), job["reason"]
    assert instance in job["reason"]
    assert timedelta(minutes=15) <= orders.app.cloud.clock.now() - began < timedelta(minutes=25)
    orders.app.ask("DELETE", "/plans/silent")
    orders.app.ec2().terminate_instances(InstanceIds=[instance])


def changed(good: bytes) -> bytes:
    """Give other bytes of the same size."""
    return good[:-1] + bytes([good[-1] ^ 1])


CHANGED_OBJECT = (
    "the instance did not get the bytes that were backed up; nothing was restored: expected SHA-256 "
)
SEGMENT, MANIFEST = "segments/000001", "manifest.json"


@pytest.mark.parametrize(
    ("vault", "name", "spoil", "why"),
    [
        ("primary", "data", changed, CHANGED_OBJECT),
        ("primary", "data", lambda good: good[:-1], "it has 99999 bytes, the catalog says 100000"),
        ("primary", "data", lambda good: b"", "it has 0 bytes, the catalog says 100000"),
        ("primary", "data", lambda good: None, "it is not there"),
        ("dr", "data", changed, CHANGED_OBJECT),
        ("dr", "data", lambda good: None, "it is not there"),
        ("offsite", SEGMENT, changed, "its SHA-256 is "),
        ("offsite", SEGMENT, lambda good: good[:-1], "its SHA-256 is "),
        ("offsite", SEGMENT, lambda good: None, "there is no such object"),
        ("offsite", MANIFEST, lambda good: b"\0" * len(good), "it is not JSON"),
        ("offsite", MANIFEST, lambda good: good[: len(good) // 2], "it is not JSON"),
        ("offsite", MANIFEST, lambda good: good.replace(b'"segments"', b'"segment"'), "segment"),
        ("offsite", MANIFEST, lambda good: good.replace(b'"rp-', b'"rp-0'), "it describes rp-0"),
        (
            "offsite",
            MANIFEST,
            lambda good: good.replace(b'"format_version": 1', b'"format_version": 2'),
            "its format version is 2, and this Farshore reads 1",
        ),
        ("offsite", MANIFEST, lambda good: None, "there is no such object"),
    ],
)
def test_a_file_that_is_not_what_was_backed_up_is_refused_and_named_and_never_reaches_the_restore_script(
    orders: Orders, vault: str, name: str, spoil: Spoil, why: str
) -> None:
    key = orders.folder + name
    good = orders.app.read(vault, key)
    orders.app.spoil(vault, key, spoil(good))
    job = orders.restore(vault)
    orders.app.spoil(vault, key, good)
    assert job["state"] == "FAILED"
    point, instance = orders.point["id"], orders.instance
    assert job["reason"].startswith(f"restore of {point} from {vault} onto {instance}: ")
    assert f"{vault}:{key}: " in job["reason"]
    assert why in job["reason"]
    assert orders.restored is None


def test_segments_and_manifest_changed_together_are_refused_by_the_hash_of_the_whole(orders: Orders) -> None:
    segment, manifest = (orders.folder + name for name in (SEGMENT, MANIFEST))
    good, described = orders.app.read("offsite", segment), orders.app.read("offsite", manifest)
    whole = orders.point["artefacts"][0]["sha256"]
    forged = hashlib.sha256(changed(good)).hexdigest().encode()
    start = described.index(b'"segments"')
    orders.app.spoil("offsite", segment, changed(good))
    orders.app.spoil(
        "offsite", manifest, described[:start] + described[start:].replace(whole.encode(), forged)
    )
    job = orders.restore("offsite")
    orders.app.spoil("offsite", segment, good)
    orders.app.spoil("offsite", manifest, described)
    assert job["state"] == "FAILED"
    assert f"offsite:{orders.folder}: {CHANGED_OBJECT}{whole}" in job["reason"]
    assert orders.restored is None


def test_a_restore_from_a_damaged_vault_names_the_request_that_restores_from_another(orders: Orders) -> None:
    key = f"{orders.folder}data"
    good = orders.app.read("primary", key)
    orders.app.spoil("primary", key, changed(good))
    reason = orders.restore("primary")["reason"]
    assert "; the point is also in dr, offsite: POST /restores " in reason

    [job] = orders.app.post("/restores", json.loads(reason.partition("POST /restores ")[2]))
    orders.app.finish()
    orders.app.spoil("primary", key, good)
    assert orders.app.job(job)["state"] == "COMPLETED"
    assert orders.restored == good.decode()


@pytest.mark.parametrize("vault", ["dr", "offsite"])
def test_while_one_vault_is_damaged_another_one_restores_byte_for_byte(orders: Orders, vault: str) -> None:
    key = f"{orders.folder}data"
    good = orders.app.read("primary", key)
    orders.app.spoil("primary", key, changed(good))
    job = orders.restore(vault)
    orders.app.spoil("primary", key, good)
    assert job["state"] == "COMPLETED", job["reason"]
    assert orders.restored == good.decode()


def test_a_container_that_does_not_exist_fails_its_copy_alone_and_the_copy_can_be_made_later(
    orders: Orders,
) -> None:
    orders.put_rule('cat orders > "$2"', copies=[{"vault": "dr"}, {"vault": "offsite"}])
    with orders.without_container():
        backup = orders.run()
        copies = {job["vault"]: job for job in orders.copies_of(backup["recovery_point"])}
    assert (backup["state"], copies["dr"]["state"], copies["offsite"]["state"]) == (
        "COMPLETED",
        "COMPLETED",
        "FAILED",
    )
    assert "vault offsite has no container farshore at provider local" in copies["offsite"]["reason"]
    [job] = orders.app.post(f"/recovery-points/{backup['recovery_point']}/copies", {"vault": "offsite"})
    orders.app.finish()
    assert orders.app.job(job)["state"] == "COMPLETED"
    vaults = {
        each["vault"]: each["state"] for each in orders.app.point(backup["recovery_point"])["artefacts"]
    }
    assert vaults == dict.fromkeys(("primary", "dr", "offsite"), "AVAILABLE")


def test_a_restore_from_a_container_that_does_not_exist_says_so(orders: Orders) -> None:
    with orders.without_container():
        job = orders.restore("offsite")
    assert job["state"] == "FAILED"
    assert "vault offsite has no container farshore at provider local" in job["reason"]
    assert "; the point is also in primary, dr: POST /restores " in job["reason"]
    assert orders.restored is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {"restore": "echo 'no room' >&2; exit 9"},
            "the restore script failed: restore script exited 9; its last words: no room",
        ),
        (
            {"verify": "echo 'row 7 is wrong'; false"},
            "but the verify script failed: verify script exited 1; its last words: row 7 is wrong",
        ),
        ({"restore": "/opt/none"}, "restore script /opt/none: there is no such file on this instance"),
    ],
)
def test_a_restore_script_that_fails_makes_a_failed_job_that_says_why(
    orders: Orders, more: Document, why: str
) -> None:
    orders.put_rule("true", **more)
    job = orders.restore("primary")
    assert (job["state"], why in job["reason"]) == ("FAILED", True), job["reason"]


def test_a_restore_onto_an_instance_without_an_agent_says_so(orders: Orders) -> None:
    instance = orders.app.run_instance(app="mute", Name="mute", tags=NO_AGENT)
    job = orders.restore("primary", target={"instance_id": instance})
    orders.app.ec2().terminate_instances(InstanceIds=[instance])
    assert job["state"] == "FAILED"
    assert f"waited 15 minutes for the SSM agent of {instance}, which has never registered" in job["reason"]


def test_a_backup_whose_object_cannot_be_read_back_is_thrown_away(orders: Orders) -> None:
    refusal = {"error": {"code": "AccessDenied", "status": 403, "message": "Access Denied"}}
    match = {"service": "s3", "operation": "GetObject", "resource": "/data", "caller": "function"}
    orders.app.cloud.faults.replace([{"match": match, "effect": refusal}])
    job = orders.run()
    orders.app.cloud.faults.replace([])
    assert job["state"] == "FAILED"
    assert "GetObject failed on primary:points/orders-db/files/" in job["reason"]
    assert orders.app.point(job["recovery_point"])["artefacts"] == []
    assert not [key for key in orders.app.keys("primary") if job["recovery_point"] in key]
