"""docs/plan.md says what the code does: its keys, examples and tables are read from the page and tried."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from chalicelib.plans.document import PlanShape
from chalicelib.plans.lifecycle import Keep, Lifecycle, Point, decide_lifecycle
from chalicelib.plans.model import parse_plan
from chalicelib.plans.problems import KEYS, NOT_YET
from chalicelib.plans.schedule import Schedule

PAGE = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def rows(*header: str) -> list[list[str]]:
    """Return the rows of every table that begins with these columns."""
    found: list[list[str]] = []
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE):
        head, _, *body = [
            [cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()
        ]
        if head[: len(header)] == list(header):
            found += body
    return found


def keys(*header: str) -> set[str]:
    return {row[0].strip("`") for row in rows(*header)}


def shape_keys(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """List the keys of pydantic's schema, written as the page writes them."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from shape_keys(inner, f"{path}{name}.")
    if "items" in schema:
        yield from shape_keys(schema["items"], f"{path.removesuffix('.')}[].")
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from shape_keys(option, path)


def inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    match schema:
        case {"$ref": str(name)}:
            return inlined(definitions[name.rpartition("/")[2]], definitions)
        case dict():
            return {key: inlined(value, definitions) for key, value in schema.items()}
        case list():
            return [inlined(value, definitions) for value in schema]
    return schema


def accepted_keys() -> set[str]:
    schema = PlanShape.model_json_schema()
    return set(shape_keys(inlined(schema, schema["$defs"])))


def is_of_a_copy(key: str) -> bool:
    """Return the keys of a copy's lifecycle, which the page describes once, as the rule's."""
    return key.startswith("rules[].copies[].lifecycle.")


def test_every_key_of_the_page_is_accepted_and_every_accepted_key_is_on_the_page() -> None:
    on_page = keys("key", "type")
    assert on_page == {key for key in accepted_keys() if not is_of_a_copy(key)}


def test_a_copys_lifecycle_has_the_keys_of_a_rules() -> None:
    of_copy = {key for key in accepted_keys() if is_of_a_copy(key)}
    of_rule = {key for key in accepted_keys() if key.startswith("rules[].lifecycle.")}
    assert of_copy == {key.replace("rules[].", "rules[].copies[].", 1) for key in of_rule}


def test_every_accepted_key_has_words_for_what_belongs_there() -> None:
    worded = {key.replace("/*", "[]").replace("/", ".") for key in KEYS}
    assert worded - {"rules[]", "rules[].copies[]"} == accepted_keys()


def test_keys_to_come_are_on_the_page() -> None:
    assert keys("key", "what it will say") == {key.replace("/*", "[]").replace("/", ".") for key in NOT_YET}


def test_page_has_its_examples_and_its_nights() -> None:
    assert (len(EXAMPLES), len(rows("zone", "schedule"))) == (2, 5)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_the_page_is_a_plan(example: str) -> None:
    plan = parse_plan(yaml.safe_load(example), vaults={"primary": "s3", "dr": "s3", "azure": "libcloud"})
    assert parse_plan(plan.to_document(), vaults=None) == plan


@pytest.mark.parametrize(("zone", "schedule", "night", "runs_at"), rows("zone", "schedule"))
def test_run_of_the_page_is_the_run(zone: str, schedule: str, night: str, runs_at: str) -> None:
    midnight = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = Schedule.parse(schedule.strip("`"), zone).next_after(midnight - (datetime.resolution))
    assert found == datetime.fromisoformat(runs_at)


def test_verdicts_of_the_page_are_the_verdicts() -> None:
    table = rows("point", "verdict")
    points = [Point(row[0], datetime.fromisoformat(f"{row[0]}T02:15Z"), True) for row in table]
    lifecycle = Lifecycle(keep=Keep(daily=3, weekly=3, monthly=2), min_keep=2)
    found = decide_lifecycle(points, lifecycle, datetime(2026, 11, 22, 6, tzinfo=UTC), complete=True)
    assert [[each.id, "keep" if each.keep else "delete", each.reason] for each in found] == table
    assert len(table) == 10
