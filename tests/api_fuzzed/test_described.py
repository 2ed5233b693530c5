"""schemathesis sends what openapi.json describes, and what it forbids: every answer is one it describes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from docs.openapi import WHERE
from local_cloud.cloud import Cloud
from tests.support.deployment import Deployment, service_rule, snapshot_rule
from tests.support.farshore import BEGIN, cold_functions, fresh_stage
from tests.support.thoroughness import amount

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
)
# Not `positive_data_acceptance`: JSON Schema cannot say that a service or a plan is named, but not both.
PHASES = ("examples", "coverage", "fuzzing")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Deployment]:
    """Give a stage whose API takes unsigned requests."""
    with cold_functions(), Cloud(tmp_path / "cloud", start_at=BEGIN) as cloud, fresh_stage(cloud) as app:
        yield app


@pytest.mark.integration("schemathesis")
@pytest.mark.timeout(900)
def test_every_answer_is_one_that_is_described(app: Deployment, tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(described(real_things(app))))
    program = shutil.which("schemathesis")
    command = [
        *(str(program), "run", str(document), "--url", app.api_url, "--seed", "1"),
        *("--checks", ",".join(CHECKS), "--phases", ",".join(PHASES[: amount(3, 1)])),
        *("--max-examples", str(amount(30, 5)), "--continue-on-failure", "--warnings", "off", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 0


def real_things(app: Deployment) -> Mapping[str, str]:
    """Make what the document's examples name; return the ids to write instead of theirs, by pattern."""
    instance = app.run_instance("orders")
    app.put_plan(
        "orders", snapshot_rule("volumes"), *map(service_rule, ("files", "nightly")), service="orders-db"
    )
    point = app.make_point("orders", "files")
    job = app.back_up("orders", rule="volumes")
    return {
        r"\b(backup|restore)-[0-9a-f]{24}\b": job,
        r"\brp-[0-9a-f]{24,}\b": point["id"],
        r"\bi-[0-9a-f]{17}\b": instance,
    }


def described(real: Mapping[str, str]) -> object:
    """Return the document with examples that exist, and without signatures, which are not asked for here."""
    text = WHERE.read_text("utf-8")
    for example, there in real.items():
        text, found = re.subn(example, there, text)
        assert found
    document = json.loads(text)
    del document["security"]
    return document
