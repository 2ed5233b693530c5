"""What a body could do to its reader is bounded: each is answered at once, with a problem document."""

import json
import time
from collections.abc import Iterator

import pytest

from local_cloud.cloud import Cloud
from tests.support.deployment import Deployment, Document
from tests.support.farshore import fresh_stage

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
RULE: Document = {"name": "r", "kind": "snapshot", "rpo": "1d", "lifecycle": {"count": 3}}
PLAN: Document = {"selection": {"tags": {"app": "orders"}}, "rules": [RULE]}
# Far above what any of them takes, and far below what an unbounded reader would.
AT_ONCE_SECONDS = 3.0


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Iterator[Deployment]:
    """Give one stage to all of these tests, which store nothing that stays."""
    with fresh_stage(cloud) as app:
        yield app


def faults_at_once(app: Deployment, body: bytes, content_type: str, status: int = 400) -> list[Document]:
    began = time.monotonic()
    answer = app.ask("PUT", "/plans/p", body, content_type=content_type)
    took = time.monotonic() - began
    faults: list[Document] = answer.problem(status)["errors"]
    assert took < AT_ONCE_SECONDS
    assert len(faults) <= 101
    assert len(answer.text) < 200_000
    assert app.ask("GET", "/plans/p").status == 404
    return faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "no anchors and aliases"),
        ("&a [*a]", "no anchors and aliases"),
        ("a: &a {b: *a}", "no anchors and aliases"),
        ("rules: " + "[" * 20_000, "mappings and lists nest at most 32 deep"),
        ("? " * 5_000 + "x", ""),
        ("a: 1\na: 2\n", "this key stands here more than once: keep one"),
        ("selection: {tags: {a: x}, tags: {b: y}}", "this key stands here more than once: keep one"),
        ("rules: .nan", ".nan is no number that can be kept"),
        ("rules: " + "9" * 100_000, "a number has at most 40 digits"),
        ("<<: {name: p}", ""),
        ("--- {a: 1}\n--- {b: 2}\n", "one document"),
    ],
    ids=[
        "bomb",
        "self",
        "self-in-key",
        "deep",
        "deep-keys",
        "twice",
        "twice-below",
        "nan",
        "digits",
        "merge",
        "two",
    ],
)
def test_yaml_that_would_harm_its_reader_is_refused_at_once(
    app: Deployment, text: str, expected: str
) -> None:
    faults = faults_at_once(app, text.encode(), "application/yaml")
    assert any(fault["expected"].startswith(expected) for fault in faults), faults[:3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "mappings and lists nest at most 32 deep"),
        ('{"a":' * 50_000, "mappings and lists nest at most 32 deep"),
        ('{"name": "p", "name": "q"}', "this key stands here more than once: keep one"),
        ('{"rules": NaN}', "NaN is no number that can be kept"),
        ('{"rules": 1e999}', "1e999 is larger than any number here"),
        ('{"rules": ' + "1" * 5_000 + "}", "a number has at most 40 digits"),
        ('{"rules": 0x10}', "JSON: "),
        ('{"service": "\\ud800"}', "a text without unpaired surrogates"),
    ],
    ids=["deep", "deep-mappings", "twice", "nan", "infinite", "digits", "hex", "surrogate"],
)
def test_json_that_would_harm_its_reader_is_refused_at_once(
    app: Deployment, text: str, expected: str
) -> None:
    faults = faults_at_once(app, text.encode(), "application/json")
    assert any(fault["expected"].startswith(expected) for fault in faults), faults[:3]


def test_a_hexadecimal_number_in_yaml_is_the_text_it_was_written_as(app: Deployment) -> None:
    text = json.dumps(PLAN).replace("3}", "0x10}").encode()
    [fault] = faults_at_once(app, text, "application/yaml")
    assert (fault["pointer"], fault["value"]) == ("/rules/0/lifecycle/count", "0x10")


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
def test_of_thousands_of_faults_a_hundred_are_told_and_the_rest_counted(
    app: Deployment, content_type: str
) -> None:
    keys = {f"k{number}": 0 for number in range(16_000)}
    faults = faults_at_once(app, json.dumps({**PLAN, **keys}).encode(), content_type)
    assert len(faults) == 101
    assert faults[-1]["expected"] == "15,900 more problems are not listed: fix these first"
    body = app.ask("POST", "/backups", {"plan": "p", **keys}).problem(400)
    assert len(body["errors"]) == 101
    assert body["detail"].endswith("; and 91 more")


def test_a_body_above_the_bound_is_a_413_with_the_bound(app: Deployment) -> None:
    keys = {f"k{number}": 0 for number in range(60_000)}
    [fault] = faults_at_once(app, json.dumps(keys).encode(), "application/json", 413)
    assert fault["expected"] == "at most 262,144 bytes"
    assert app.ask("POST", "/backups", b" " * 262_145).problem(413)


def plan_of_scripts(rules: int) -> bytes:
    """Return a plan in YAML that is twice as large when it is stored: as JSON, each quote takes two bytes."""
    rule = """
- name: r{}
  kind: service
  rpo: 1d
  lifecycle: {{count: 1}}
  script: |
    #{}
"""
    text = "selection: {tags: {app: orders}}\nrules:" + "".join(
        rule.format(n, '"' * 15_500) for n in range(rules)
    )
    return text.encode()


def test_a_plan_that_is_too_large_to_be_stored_is_refused_with_what_helps(app: Deployment) -> None:
    [fault] = faults_at_once(app, plan_of_scripts(15), "application/yaml")
    assert fault["expected"] == "at most 358,400 bytes: put long scripts on the instance, or write two plans"
    assert app.ask("PUT", "/plans/large", plan_of_scripts(11), content_type="application/yaml").status == 200
    assert len(app.get("/plans/large")["rules"]) == 11
    assert app.ask("DELETE", "/plans/large").status == 200


def test_a_plan_of_more_rules_than_there_may_be_is_refused(app: Deployment) -> None:
    many = [{**RULE, "name": f"rule-{n}"} for n in range(101)]
    faults = faults_at_once(app, json.dumps({**PLAN, "rules": many}).encode(), "application/json")
    assert [fault["pointer"] for fault in faults] == ["/rules"]


def test_text_that_is_no_utf_8_is_no_fault_of_ours(app: Deployment) -> None:
    for content_type in ("application/json", "application/yaml", ""):
        answer = app.ask("PUT", "/plans/p", b"\xff\xfe{}", content_type=content_type)
        assert answer.problem(400)["errors"]
