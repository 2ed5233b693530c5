"""Plans: read whole, written back the same, service named by text or by tag."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.plans.lifecycle import Keep, Lifecycle
from chalicelib.plans.model import (
    CopyTo,
    Kind,
    Plan,
    ServiceRule,
    SnapshotRule,
    TagName,
    parse_plan,
    read_rule,
    service_of,
)
from chalicelib.plans.objectives import Objectives
from chalicelib.plans.reading import load_document
from chalicelib.plans.selection import Selection, VolumeChoice
from chalicelib.plans.values import is_path
from chalicelib.settings import S3VaultConfig

S3 = S3VaultConfig.copy_methods
VAULTS = {
    "primary": S3VaultConfig.copy_methods,
    "dr": S3VaultConfig.copy_methods,
    "azure": S3VaultConfig.copy_methods,
}
NOW = datetime(2026, 11, 22, tzinfo=UTC)

ORDERS = """
name: orders
service: orders-db
selection:
  tags: {app: orders, env: [prod, stage]}
  exclude_tags: {backup: "off"}
objectives: {rpo: 1h, rto: 30m}
rules:
  - name: hourly
    kind: snapshot
    schedule: "cron(0 * * * ? *)"
    timezone: Europe/Berlin
    volumes: {boot: false, exclude_tags: {scratch: "true"}}
    lifecycle: {keep: {hourly: 24, daily: 7, weekly: 5, monthly: 12}, min_keep: 2}
    copies: [{vault: dr, lifecycle: {keep: {daily: 7}}}]
  - name: nightly
    kind: service
    schedule: "cron(15 2 * * ? *)"
    script: /opt/orders/backup
    restore: /opt/orders/restore
    verify: /opt/orders/verify
    target: one
    timeout: 2h
    lifecycle: {keep: {daily: 14, monthly: 6}, min_keep: 2}
    copies: [{vault: dr}, {vault: azure}]
"""


def parsed(document: Any) -> Plan:
    return parse_plan(document, vaults=VAULTS, now=NOW)


def orders() -> Plan:
    return parsed(yaml.safe_load(ORDERS))


def smallest(**rule: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "selection": {"tags": {"app": "web"}},
        "rules": [
            {
                "name": "daily",
                "kind": "snapshot",
                "rpo": "1d",
                "lifecycle": {"count": 7},
                **rule,
            }
        ],
    }


def test_whole_plan_is_read() -> None:
    assert orders() == Plan(
        name="orders",
        service="orders-db",
        selection=Selection(
            tags={"app": ("orders",), "env": ("prod", "stage")}, exclude_tags={"backup": ("off",)}
        ),
        objectives=Objectives(rpo=timedelta(hours=1), rto=timedelta(minutes=30)),
        rules=(
            SnapshotRule(
                name="hourly",
                schedule="cron(0 * * * ? *)",
                timezone="Europe/Berlin",
                volumes=VolumeChoice(boot=False, exclude_tags={"scratch": ("true",)}),
                lifecycle=Lifecycle(keep=Keep(hourly=24, daily=7, weekly=5, monthly=12), min_keep=2),
                copies=(CopyTo(vault="dr", lifecycle=Lifecycle(keep=Keep(daily=7))),),
            ),
            ServiceRule(
                name="nightly",
                schedule="cron(15 2 * * ? *)",
                script="/opt/orders/backup",
                restore="/opt/orders/restore",
                verify="/opt/orders/verify",
                timeout=timedelta(hours=2),
                lifecycle=Lifecycle(keep=Keep(daily=14, monthly=6), min_keep=2),
                copies=(CopyTo(vault="dr"), CopyTo(vault="azure")),
            ),
        ),
    )


def test_smallest_plan_has_the_defaults() -> None:
    plan = parsed(smallest())
    rule = plan.rules[0]
    assert isinstance(rule, SnapshotRule)
    assert (plan.service, plan.objectives) == ("web", Objectives())
    assert (rule.kind, rule.times, rule.timezone, rule.rpo) == (Kind.SNAPSHOT, None, "UTC", timedelta(days=1))
    assert (rule.volumes, rule.copies, rule.lifecycle.min_keep) == (VolumeChoice(boot=True), (), 1)


def test_smallest_service_rule_has_the_defaults() -> None:
    plan = parsed(smallest(kind="service", script="pg_dump > $FARSHORE_OUTPUT"))
    rule = plan.rules[0]
    assert isinstance(rule, ServiceRule)
    assert (rule.target, rule.output, rule.timeout) == ("one", "pipe", timedelta(hours=1))
    assert (rule.restore, rule.verify, rule.working_directory) == (None, None, None)


def test_rule_is_found_by_its_name() -> None:
    assert orders().rule("nightly") == orders().rules[1]
    assert orders().rule("weekly") is None


def test_copy_without_a_lifecycle_has_the_rules() -> None:
    hourly, nightly = orders().rules
    assert hourly.lifecycle_in("primary") == hourly.lifecycle
    assert hourly.lifecycle_in("dr") == Lifecycle(keep=Keep(daily=7))
    assert nightly.lifecycle_in("dr") == nightly.lifecycle


def test_stored_plan_is_read_even_when_its_vault_is_gone() -> None:
    assert Plan.read(orders().document(), "a stored plan") == orders()


@pytest.mark.parametrize(
    ("service", "tags", "expected"),
    [
        (None, {}, "web"),
        ("shop", {"Name": "web-1"}, "shop"),
        ({"tag": "Name"}, {"Name": "web-1"}, "web-1"),
        ({"tag": "Name"}, {"name": "web-1"}, None),
        ({"tag": "Name"}, {"Name": ""}, None),
    ],
)
def test_service_of_an_instance(service: Any, tags: dict[str, str], expected: str | None) -> None:
    document = smallest() | ({"service": service} if service else {})
    assert service_of(parsed(document), tags) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("/opt/orders/backup", True),
        ("./backup.sh", True),
        ("/opt/orders/backup --full", False),
        ("/opt/a\n/opt/b", False),
        ("/opt/orders/backup\n", False),
        ("backup", False),
        ("pg_dump orders > $FARSHORE_OUTPUT", False),
        ("#!/usr/bin/env python3\nprint(1)", False),
    ],
)
def test_one_word_that_begins_with_a_slash_is_a_path(script: str, expected: bool) -> None:
    assert is_path(script) is expected


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("service", "script"),
        *((kind, key) for kind in ("service", "snapshot") for key in ("restore", "verify")),
    ],
)
def test_lines_of_a_script_end_as_a_shell_reads_them(kind: str, key: str) -> None:
    backup = {"script": "dump"} if kind == "service" else {}
    scripts = {**backup, "restore": "cat", key: '#!/bin/sh\r\necho data > "$2"\r\n'}
    (read,) = parsed(smallest(kind=kind, **scripts)).rules
    assert getattr(read, key) == '#!/bin/sh\necho data > "$2"\n'


def test_document_is_json_and_shows_every_default() -> None:
    document = json.loads(json.dumps(parsed(smallest()).document()))
    assert document == {
        "name": "web",
        "service": "web",
        "selection": {"tags": {"app": "web"}},
        "rules": [
            {
                "name": "daily",
                "kind": "snapshot",
                "timezone": "UTC",
                "rpo": "1d",
                "volumes": {"boot": True},
                "lifecycle": {"count": 7, "min_keep": 1, "manual": {"count": 5}},
                "timeout": "1h",
            }
        ],
    }


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
tag_values = st.text(st.characters(codec="utf-8"), max_size=20)
patterns = st.dictionaries(
    st.sampled_from(["app", "env", "Name", "a:b/c"]),
    tag_values | st.lists(tag_values, min_size=1, max_size=3),
    min_size=1,
)
amounts = st.integers(1, 100_000)
spans = st.builds(lambda count, unit: f"{count}{unit}", st.integers(1, 48), st.sampled_from("hd"))
lifecycles = st.builds(
    lambda rule, min_keep: rule | min_keep,
    st.one_of(
        st.fixed_dictionaries({"count": amounts}),
        st.fixed_dictionaries({"age": spans}),
        st.fixed_dictionaries(
            {
                "keep": st.dictionaries(
                    st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly"]), amounts, min_size=1
                )
            }
        ),
    ),
    st.fixed_dictionaries(
        {}, optional={"min_keep": amounts, "manual": st.fixed_dictionaries({}, optional={"count": amounts})}
    ),
)
copies = st.lists(
    st.fixed_dictionaries({"vault": st.sampled_from(["dr", "azure"])}, optional={"lifecycle": lifecycles}),
    max_size=2,
    unique_by=lambda copy: str(copy["vault"]),
)
times = st.one_of(
    st.fixed_dictionaries({"rpo": spans}),
    st.fixed_dictionaries(
        {"schedule": st.sampled_from(["cron(0 2 ? * MON-FRI *)", "rate(6 hours)"])},
        optional={"timezone": st.sampled_from(["UTC", "Asia/Kathmandu"])},
    ),
)
# What begins with a slash and goes on in the line is refused.
scripts = st.text(st.characters(codec="utf-8", exclude_characters="\0/."), min_size=1).filter(str.strip)
snapshot_parts = st.fixed_dictionaries(
    {"kind": st.just("snapshot")},
    optional={
        "volumes": st.fixed_dictionaries({}, optional={"boot": st.booleans(), "exclude_tags": patterns})
    },
)
service_parts = st.fixed_dictionaries(
    {"kind": st.just("service"), "script": scripts},
    optional={
        "restore": scripts,
        "target": st.just("one"),
        "timeout": st.sampled_from(["1s", "90s", "48h"]),
        "output": st.sampled_from(["pipe", "file"]),
        "working_directory": st.sampled_from(["/srv", "./work dir"]),
        "expect": st.fixed_dictionaries(
            {},
            optional={"min_bytes": amounts, "shrink": st.sampled_from(["1%", "99%", "off", False])},
        ),
    },
)
rules = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.fixed_dictionaries({"name": names, "lifecycle": lifecycles}, optional={"copies": copies}),
    times,
    snapshot_parts | service_parts,
)
required: dict[str, st.SearchStrategy[Any]] = {
    "name": names,
    "selection": st.fixed_dictionaries({"tags": patterns}, optional={"exclude_tags": patterns}),
    "rules": st.lists(rules, min_size=1, max_size=3, unique_by=lambda rule: str(rule["name"])),
}
plans = st.fixed_dictionaries(
    required,
    optional={
        "service": st.one_of(names, st.fixed_dictionaries({"tag": st.sampled_from(["Name", "app"])})),
        "objectives": st.fixed_dictionaries({}, optional={"rpo": spans, "rto": spans}),
    },
)


@given(plans)
def test_plan_written_back_is_the_plan(document: dict[str, Any]) -> None:
    plan = parsed(document)
    written = plan.document()
    assert parsed(json.loads(json.dumps(written))) == plan
    assert parsed(load_document(json.dumps(written), is_yaml=True)) == plan
    assert Plan.model_validate(written) == plan
    assert parsed(written).document() == written


@given(plans)
def test_rule_a_job_carries_is_the_rule(document: dict[str, Any]) -> None:
    for rule in parsed(document).rules:
        assert read_rule(json.loads(json.dumps(rule.document()))) == rule


def test_service_by_tag_is_a_tag_name() -> None:
    assert parsed({**smallest(), "service": {"tag": "Name"}}).service == TagName(tag="Name")
