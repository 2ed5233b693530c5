"""What opens a backup is told to the run alone, and to nobody who reads what is kept of it."""

import http.client
import json
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.deployment import Deployment, service_rule

WAITS = "while [ ! -e go ]; do sleep 0.1; done"
URL = re.compile(r"https?://[^\s'\"]+X-Amz-Signature=[0-9a-f]+")


def _finish(app: Deployment) -> None:
    for _ in range(40):
        if not app.unfinished():
            return
        app.pass_time(minutes=5)
    pytest.fail(f"{app.unfinished()}")


def _commands(app: Deployment) -> list[dict[str, Any]]:
    """Read the history of commands, as whoever may list commands does."""
    pages = app.cloud.client("ssm", "eu-central-1").get_paginator("list_commands").paginate()
    return [command for page in pages for command in page["Commands"]]


def _opened(url: str) -> tuple[int, bytes]:
    """Return what a URL opens."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc)
    connection.request("GET", f"{address.path}?{address.query}")
    answer = connection.getresponse()
    return answer.status, answer.read()


def _opened_by_history(app: Deployment) -> list[tuple[int, bytes]]:
    """Return what the URLs in the history of commands open, all that one can GET."""
    urls = [url for command in _commands(app) for url in URL.findall(json.dumps(command, default=str))]
    assert urls
    return [_opened(url) for url in urls if _opened(url)[0] != 403]


@pytest.mark.long
@pytest.mark.parametrize("vault", ["primary", "dr", "offsite"])
def test_nothing_that_is_kept_of_a_backup_and_its_restore_opens_it(
    app: Deployment, vault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(copies=[{"vault": "dr"}, {"vault": "offsite"}]))
    backup = app.job(app.back_up("orders"))
    _finish(app)
    restore = app.restore(app.point(backup["recovery_point"]), vault, instance_id=instance)
    _finish(app)
    assert app.job(restore)["state"] == "COMPLETED"

    assert {status for status, _ in _opened_by_history(app)} <= {404}
    outputs = [
        app.cloud.client("ssm", "eu-central-1").get_command_invocation(
            CommandId=command["CommandId"], InstanceId=instance
        )
        for command in _commands(app)
    ]
    asked = ("jobs", "recovery-points", "plans", "inventory")
    told = [app.listing(what) for what in asked] + [app.job(restore), app.job(backup["id"])]
    files = [
        app.read(where, key).decode("utf-8", "replace")
        for where in ("primary", "dr", "offsite")
        for key in app.keys(where)
    ]
    kept = json.dumps([outputs, told, files, *capfd.readouterr()], default=str)
    worker = app.cloud.functions.get("farshore-AdvanceJobs")
    session = app.cloud.functions.session_of(worker)
    for secret in ("X-Amz-Signature", "X-Amz-Security-Token", session.secret):
        assert secret not in kept
    assert not [key for where in ("primary", "dr") for key in app.keys(where) if key.startswith("mailbox/")]
    assert app.discrepancies() == []


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_what_the_history_of_commands_names_opens_nothing_while_the_run_works(
    app: Deployment, kind: str
) -> None:
    scripts = {
        "script": f'echo data > "$2"; {"touch began; " + WAITS if kind == "backup" else ""}',
        "restore": f"cat > restored; touch began; {WAITS}",
    }
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(**scripts))
    seen: list[tuple[int, bytes]] = []

    def look() -> None:
        seen.extend(_opened_by_history(app)[:1])
        (app.directory(instance) / "go").touch()

    job = app.back_up("orders")
    if kind == "restore":
        _finish(app)
        job = app.restore(app.points()[0], "primary", instance_id=instance)
    app.once_written(instance, "began", look, seconds=45)
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED"
    assert seen == [(200, b"taken\n")]


def test_while_a_run_works_its_job_lays_fresh_letters(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(script=f'echo data > "$2"; touch began; {WAITS}'))
    job = app.back_up("orders")

    def look() -> None:
        app.poke(job)
        for _ in range(200):
            if f"mailbox/{job}/letter-000002" in app.keys("primary"):
                break
            threading.Event().wait(0.1)
        letter = app.read("primary", f"mailbox/{job}/letter-000002").decode()
        assert letter.startswith("farshore-letter 1\nnext ")
        assert "\nfirst 1\nlast 10000\nparts\n8 " in letter
        (app.directory(instance) / "go").touch()

    app.once_written(instance, "began", look, seconds=45)
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED"
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "operation"), [("backup", "UploadPart"), ("restore", "GetObject")], ids=["backup", "restore"]
)
def test_a_session_that_ends_ends_no_run(app: Deployment, kind: str, operation: str) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule())
    job = app.back_up("orders")
    expired = {"code": "ExpiredToken", "status": 400, "message": "The provided token has expired."}
    resource = "/data"
    if kind == "restore":
        _finish(app)
        job = app.restore(app.points()[0], "primary", instance_id=instance)
    match = {"service": "s3", "operation": operation, "resource": resource, "caller": "other"}
    app.faults({"match": match, "effect": {"error": expired}, "count": 1})
    with ThreadPoolExecutor(1) as pool:
        passing = pool.submit(app.pass_time, seconds=45)
        for _ in range(300):
            if app.faults_met() or passing.done():
                break
            threading.Event().wait(0.1)
        assert app.faults_met()
        app.poke(job)
        passing.result()
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    assert app.discrepancies() == []


def test_a_run_that_is_cancelled_leaves_no_mailbox(app: Deployment) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(script=f'echo data > "$2"; touch began; {WAITS}'))
    job = app.back_up("orders")
    app.once_written(
        instance, "began", lambda: app.ask("POST", f"/jobs/{job}/cancel", status=202), seconds=45
    )
    _finish(app)
    assert app.job(job)["state"] == "CANCELLED"
    assert app.discrepancies() == []
    shutil.rmtree(app.directory(instance) / "tmp")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize("operation", ["HeadObject", "PutObject"])
def test_a_mailbox_that_is_denied_for_a_while_ends_no_run(app: Deployment, kind: str, operation: str) -> None:
    """A restore that is ended half-way leaves a service half restored, though it may need no letter more."""
    scripts = {
        "script": f'echo data > "$2"; {"touch began; " + WAITS if kind == "backup" else ""}',
        "restore": f"cat > restored; touch began; {WAITS}",
    }
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule(**scripts))
    job = app.back_up("orders")
    if kind == "restore":
        _finish(app)
        job = app.restore(app.points()[0], "primary", instance_id=instance)
    match = {"service": "s3", "operation": operation, "resource": "mailbox/", "caller": "function"}
    denied = {"match": match, "effect": {"error": {"code": "AccessDenied", "status": 403}}}

    def look() -> None:
        app.faults(denied)
        app.poke(job)
        for _ in range(200):
            if "no letter can be written to it now" in app.job(job)["reason"]:
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail(f"{app.job(job)}")
        app.faults()
        (app.directory(instance) / "go").touch()

    app.once_written(instance, "began", look, seconds=45)
    _finish(app)
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    assert app.discrepancies() == []


@pytest.mark.long
@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("SlowDown", 503)])
def test_a_mailbox_that_cannot_be_removed_makes_no_failure_of_a_success(
    app: Deployment, kind: str, code: str, status: int
) -> None:
    instance = app.run_instance("orders")
    app.put_plan("orders", service_rule())
    match = {"service": "s3", "operation": "ListObjectsV2", "resource": "mailbox", "caller": "function"}
    job = app.back_up("orders")
    if kind == "restore":
        _finish(app)
        job = app.restore(app.points()[0], "primary", instance_id=instance)
    app.faults({"match": match, "effect": {"error": {"code": code, "status": status}}})
    app.pass_time(minutes=1 if kind == "backup" else 40)
    assert app.faults_met()
    app.faults()
    assert app.job(job)["state"] == "COMPLETED", app.job(job)
    assert [point["state"] for point in app.points()] == ["AVAILABLE"]
