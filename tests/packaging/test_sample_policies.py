"""The sample policies for callers of the API allow what their names say, of the routes that there are."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.policies.reference import listed
from tests.policies.rendered import SAMPLES, Policy, samples

OPENAPI = Path(__file__).parents[2] / "chalicelib" / "triggers" / "openapi.json"
METHODS = ("get", "put", "post", "delete")
API = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/api"


def routes() -> Iterator[tuple[str, str]]:
    """Yield method and path of every route, with something in place of its parameters."""
    for path, described in json.loads(OPENAPI.read_text())["paths"].items():
        for method in described.keys() & set(METHODS):
            yield method.upper(), path.replace("{", "").replace("}", "")


def allowed(policy: Policy) -> set[tuple[str, str]]:
    """Return the routes that a policy allows, judged as IAM does: `*` is any text.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html
    """
    patterns = [
        pattern
        for statement in policy.document["Statement"]
        for pattern in listed(statement["Resource"])
        if statement["Effect"] == "Allow" and listed(statement["Action"]) == ["execute-api:Invoke"]
    ]
    return {
        (method, path)
        for method, path in routes()
        if any(_matches(pattern, f"{API}/{method}{path}") for pattern in patterns)
    }


def _matches(pattern: str, arn: str) -> bool:
    """Compare a pattern, whose only wildcard is a `*` at its end, with an ARN."""
    assert "*" not in pattern[:-1]
    assert "?" not in pattern
    return arn.startswith(pattern[:-1]) if pattern.endswith("*") else arn == pattern


def named(name: str) -> Policy:
    """Return a sample by the name of its file."""
    (found,) = (policy for policy in samples() if policy.where == f"{name}.json")
    return found


def test_an_operator_may_call_every_route() -> None:
    assert allowed(named("operator")) == set(routes())


def test_an_auditor_may_read_everything_and_change_nothing() -> None:
    assert allowed(named("auditor")) == {route for route in routes() if route[0] == "GET"}


def test_who_only_restores_may_find_a_point_restore_it_and_see_how_that_goes() -> None:
    assert allowed(named("restore-only")) == {
        ("GET", "/jobs"),
        ("GET", "/jobs/job_id"),
        ("GET", "/readiness"),
        ("GET", "/recovery-points"),
        ("GET", "/recovery-points/point_id"),
        ("GET", "/status"),
        ("POST", "/restores"),
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_every_sample_is_in_the_documentation(name: str) -> None:
    assert f"policies/{name}.json" in (SAMPLES.parent / "security.md").read_text()
