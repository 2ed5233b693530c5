"""The preview of a plan finds what comes next, and warns of what is allowed and likely a mistake."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.insight.preview import next_runs, warnings_of
from chalicelib.plans.model import Plan

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
COVERED = {"s": ["i-1"]}


def plan(*rules: dict[str, Any], **keys: Any) -> Plan:
    base = {"kind": "service", "script": "dump", "lifecycle": {"count": 1}}
    named = [{"name": f"r{number}", **base, **rule} for number, rule in enumerate(rules)]
    return Plan.model_validate({"name": "p", "selection": {"tags": {"app": "x"}}, "rules": named, **keys})


def warned(made: Plan) -> list[str]:
    return warnings_of(made, COVERED, [], NOW)


@pytest.mark.parametrize(
    ("rule", "runs"),
    [
        ({"schedule": "cron(0 0 29 2 ? *)"}, ["2028-02-29T00", "2032-02-29T00", "2036-02-29T00"]),
        ({"schedule": "cron(0 0 1 1 ? 2199)"}, ["2199-01-01T00"]),
        ({"schedule": "rate(1000 days)"}, ["2027-07-01T00", "2030-03-27T00", "2032-12-21T00"]),
    ],
)
def test_next_runs_are_found_however_far_they_are(rule: dict[str, Any], runs: list[str]) -> None:
    assert [run[:13] for run in next_runs(plan(rule).rules[0], NOW)] == runs


def test_how_often_a_rule_follows_its_rpo_is_said_in_words() -> None:
    assert next_runs(plan({"rpo": "90m"}).rules[0], NOW) == [
        "whenever the newest point would be older than 90 minutes"
    ]


@pytest.mark.parametrize(
    ("rules", "rpo", "says"),
    [
        ([{"schedule": "cron(15 2 * * ? *)"}], "1h", "two runs of r0 are up to 1 day apart"),
        ([{"schedule": "cron(0 9-17 * * ? *)"}], "2h", "two runs of r0 are up to 16 hours apart"),
        ([{"schedule": "rate(7 days)"}, {"rpo": "2d"}], "1d", "two runs of r1 are up to 2 days apart"),
        ([{"schedule": "cron(0 0 29 2 ? *)"}], "365d", "two runs of r0 are up to 2,921 days apart"),
    ],
)
def test_an_objective_that_no_rule_meets_is_warned_of(
    rules: list[dict[str, Any]], rpo: str, says: str
) -> None:
    (warning,) = warned(plan(*rules, objectives={"rpo": rpo}))
    assert says in warning
    assert warning.startswith("objectives.rpo is ")


@pytest.mark.parametrize(
    ("rules", "rpo"),
    [
        ([{"schedule": "rate(1 hour)"}], "1h"),
        ([{"schedule": "cron(0 2 * * ? *)"}, {"rpo": "1h"}], "1h"),
        ([{"schedule": "cron(15 2 * * ? *)"}], "1d"),
    ],
)
def test_an_objective_that_a_rule_meets_is_not_warned_of(rules: list[dict[str, Any]], rpo: str) -> None:
    assert warned(plan(*rules, objectives={"rpo": rpo})) == []


@pytest.mark.parametrize(
    "script",
    [
        "pg_dump orders | gzip > $2",
        "#!/bin/sh\npg_dump orders |& gzip > $2",
        "a && b|c",
        "#!/bin/bash\npg_dump orders | gzip > $2",
    ],
)
def test_a_pipe_in_which_a_failure_is_hidden_is_warned_of(script: str) -> None:
    (warning,) = warned(plan({"rpo": "1h", "script": script}))
    assert "script of rule r0 has a pipe" in warning
    assert "pipefail" in warning


@pytest.mark.parametrize(
    "script",
    [
        "/opt/a|b",
        "pg_dump orders || exit 3",
        "echo 'a | b' > $2",
        "dump # a | b",
        "#!/bin/bash\nset -o pipefail\npg_dump orders | gzip > $2",
        "#!/usr/bin/env python3\nprint(1 | 2)",
        "echo it's | cat",
    ],
)
def test_no_other_script_is_warned_of(script: str) -> None:
    assert warned(plan({"rpo": "1h", "script": script})) == []


def test_a_pipe_in_a_script_that_mounts_volumes_is_warned_of() -> None:
    snapshots = {"kind": "snapshot", "rpo": "1h", "lifecycle": {"count": 1}, "name": "r"}
    made = Plan.model_validate(
        {
            "name": "p",
            "selection": {"tags": {"app": "x"}},
            "rules": [{**snapshots, "restore": "blkid | sort"}],
        }
    )
    (warning,) = warned(made)
    assert "restore of rule r has a pipe" in warning
