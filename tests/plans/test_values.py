"""Values that people really send: each is brought into its one form, or refused with what would be right."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.errors import InvalidInput
from chalicelib.plans.model import LARGEST_PLAN_BYTES, Plan, ServiceRule, parse_plan
from chalicelib.plans.reading import load_document
from chalicelib.settings import S3VaultConfig

S3 = S3VaultConfig.copy_methods
VAULTS = {"primary": S3, "dr": S3}
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def plan(**rule: Any) -> dict[str, Any]:
    service = {"name": "n", "kind": "service", "rpo": "1d", "script": "dump", "lifecycle": {"count": 1}}
    return {"name": "p", "selection": {"tags": {"app": "x"}}, "rules": [{**service, **rule}]}


def rule_of(document: Any) -> ServiceRule:
    (rule,) = parse_plan(document, vaults=VAULTS, now=NOW).rules
    assert isinstance(rule, ServiceRule)
    return rule


def refusal(document: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        parse_plan(document, vaults=VAULTS, now=NOW)
    (problem,) = refused.value.problems
    return problem.expected


@pytest.mark.parametrize("key", ["script", "restore", "verify"])
@pytest.mark.parametrize(
    "written", ["/opt/x/backup\n", "  /opt/x/backup  ", "/opt/x/backup\r\n", "./backup\n"]
)
def test_blanks_around_a_path_are_no_part_of_it(key: str, written: str) -> None:
    rule = rule_of(plan(**{"restore": "load", key: written}))
    assert getattr(rule, key) == written.strip()


def test_a_path_in_a_block_of_yaml_is_the_path() -> None:
    text = """
    name: p
    selection: {tags: {app: x}}
    rules:
      - name: n
        kind: service
        rpo: 1d
        script: |
          /opt/x/backup
        working_directory: |
          /srv/x
        lifecycle: {count: 1}
    """
    rule = rule_of(load_document(text, is_yaml=True))
    assert (rule.script, rule.working_directory) == ("/opt/x/backup", "/srv/x")


@pytest.mark.parametrize("written", ["/opt/x/backup --all", "./backup a b", " /opt/x/backup\t--all\n"])
def test_words_after_a_path_are_refused_with_the_script_to_write(written: str) -> None:
    expected = refusal(plan(script=written))
    assert "a path is one word; to pass arguments, write an inline script" in expected
    assert f'exec {written.strip()} "$@"' in expected


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\nexec /opt/x/backup --all", "/opt/x/a\n/opt/x/b --all\n", "exec /opt/x/backup", "dump > $2"],
)
def test_texts_of_scripts_stay_as_they_are(text: str) -> None:
    assert rule_of(plan(script=text)).script == text


def test_what_ssm_would_put_a_parameter_into_is_refused_where_the_shell_cannot_quote_it() -> None:
    assert "SSM would substitute a parameter" in refusal(plan(working_directory="/srv/{{ssm:name}}"))
    assert rule_of(plan(script="docker ps --format '{{.ID}}'")).script.endswith("'{{.ID}}'")


@pytest.mark.parametrize("schedule", ["cron(0 2 * * ? 2025)", "cron(0 2 1 1 ? 2020-2026)"])
def test_a_schedule_whose_years_are_over_is_refused(schedule: str) -> None:
    document = plan(schedule=schedule)
    del document["rules"][0]["rpo"]
    assert refusal(document) == "a schedule that still runs: all its years are past on 2026-11-22"
    # One that was stored while it still ran is read for ever.
    assert Plan.model_validate(document).rules[0].schedule == schedule


@pytest.mark.parametrize("written", ["1 hour", "3600", 3600, "1h30m", "-1h", "1.5h", "", "60s", True, ["1h"]])
def test_a_duration_is_one_number_and_one_unit_within_its_bounds(written: Any) -> None:
    words = "a duration from 5m to 3650d: a whole number and one of s, m, h, d, such as 90s, 15m, 1h or 30d"
    assert refusal(plan(rpo=written)) == words


@pytest.mark.parametrize("zone", ["pst", "PST", "CEST", "BST"])
def test_an_abbreviation_is_no_zone(zone: str) -> None:
    assert "abbreviations such as PST are none" in refusal(plan(timezone=zone))


@pytest.mark.parametrize(("zone", "meant"), [("europe/berlin", "Europe/Berlin"), ("utc", "UTC")])
def test_a_zone_in_the_wrong_case_is_named_in_the_right_one(zone: str, meant: str) -> None:
    assert f"did you mean {meant}?" in refusal(plan(timezone=zone))


def test_a_rule_that_follows_its_rpo_has_a_zone_of_its_own() -> None:
    assert (
        rule_of(plan(timezone="Asia/Tokyo")).zone.utcoffset(NOW)
        == NOW.astimezone(rule_of(plan(timezone="Asia/Tokyo")).zone).utcoffset()
    )


def test_a_plan_larger_than_an_item_of_dynamodb_is_refused_with_its_size() -> None:
    rules = [
        {**plan(script="x" * 16_000)["rules"][0], "name": f"r{number}"}
        for number in range(LARGEST_PLAN_BYTES // 16_000 + 1)
    ]
    with pytest.raises(InvalidInput) as refused:
        parse_plan({**plan(), "rules": rules}, vaults=VAULTS, now=NOW)
    (problem,) = refused.value.problems
    assert problem.value.endswith("bytes with its defaults")
    assert problem.expected.startswith("at most 358,400 bytes: put long scripts on the instance")


def test_thousands_of_unknown_keys_are_told_in_one_short_answer() -> None:
    text = "{" + ",".join(f'"k{number}":1' for number in range(20_000)) + "}"
    with pytest.raises(InvalidInput) as refused:
        parse_plan(load_document(text, is_yaml=False), vaults=VAULTS, now=NOW)
    assert len(refused.value.problems) == 101
    assert refused.value.problems[-1].expected.startswith("19,903 more problems are not listed")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("min_keep: 0x10", "a whole number from 1 to 100,000"),
        ("min_keep: 010", "a whole number from 1 to 100,000"),
        ("min_keep: 1_0", "a whole number from 1 to 100,000"),
        ("min_keep: 10.0", "a whole number from 1 to 100,000"),
        ("min_keep: yes", "a whole number from 1 to 100,000"),
        ("min_keep: 1:30", "a whole number from 1 to 100,000"),
    ],
)
def test_numbers_that_yaml_once_read_otherwise_are_refused(text: str, says: str) -> None:
    written = f"""
    name: p
    selection: {{tags: {{app: off, day: 2026-01-01, at: 12:30:00}}}}
    rules: [{{name: n, kind: service, rpo: 1d, script: dump, lifecycle: {{count: 1, {text}}}}}]
    """
    assert refusal(load_document(written, is_yaml=True)) == says
    good = parse_plan(load_document(written.replace(f", {text}", ""), is_yaml=True), vaults=VAULTS, now=NOW)
    assert good.selection.tags == {"app": ("off",), "day": ("2026-01-01",), "at": ("12:30:00",)}
