"""docs/plan.md says what the code does: its keys, examples and tables are read from the page and tried."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from chalicelib.errors import InvalidInput
from chalicelib.plans.lifecycle import Keep, Lifecycle, Point, decide_lifecycle
from chalicelib.plans.model import Plan, parse_plan
from chalicelib.plans.reading import load_document
from chalicelib.plans.schedule import Schedule
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig
from docs.write import keys_of, plan_schema, written

NOW = datetime(2026, 11, 22, tzinfo=UTC)
S3, OFFSITE = S3VaultConfig.copy_methods, OffsiteVaultConfig.copy_methods
VAULTS = {
    "primary": S3VaultConfig.copy_methods,
    "dr": S3VaultConfig.copy_methods,
    "azure": OffsiteVaultConfig.copy_methods,
}
SCHEMA = json.loads(plan_schema())
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


@pytest.mark.parametrize("path", sorted(written()), ids=lambda path: path.name)
def test_docs_say_what_the_declarations_say(path: Path) -> None:
    assert path.read_text("utf-8") == written()[path], "run `make docs`"


def test_every_key_has_its_row_and_says_what_it_does() -> None:
    on_page = {row[0].strip("`"): row[3] for row in rows("key", "type")}
    plan = {key.strip("`") for key, *_ in keys_of(Plan)}
    of_copies = {key for key in plan if key.startswith("rules[].copies[].lifecycle.")}
    assert set(on_page) == plan - of_copies
    assert all(on_page.values())


def test_editors_schema_is_one_of_its_draft_and_takes_what_the_parser_takes() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    editor = Draft202012Validator(SCHEMA)
    for example in EXAMPLES:
        document = load_document(example, is_yaml=True)
        editor.validate(document)
        editor.validate(parse_plan(document, vaults=VAULTS, now=NOW).document())


def examples(schema: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each example of a schema, and the schema it stands in."""
    if isinstance(schema, dict):
        yield from ((schema, example) for example in schema.get("examples", ()))
        yield from (found for inner in schema.values() for found in examples(inner))
    elif isinstance(schema, list):
        yield from (found for inner in schema for found in examples(inner))


def test_examples_and_defaults_of_the_schema_are_right() -> None:
    found = list(examples(SCHEMA))
    for schema, example in found:
        Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]}).validate(example)
    assert len(found) >= 8


@pytest.mark.parametrize(
    "change",
    [
        {"nmae": "x"},
        {"rules": []},
        {"rules": [{"name": "a", "kind": "tape"}]},
        {"selection": {"tags": {"app": []}}},
        {"objectives": {"rpo": 3600}},
        {"service": None},
    ],
    ids=str,
)
def test_editors_refuse_what_the_parser_refuses(change: dict[str, Any]) -> None:
    document = {**load_document(EXAMPLES[1], is_yaml=True), **change}
    assert not Draft202012Validator(SCHEMA).is_valid(document)
    with pytest.raises(InvalidInput):
        parse_plan(document, vaults=VAULTS, now=NOW)


def test_page_has_its_examples_and_its_nights() -> None:
    assert (len(EXAMPLES), len(rows("zone", "schedule"))) == (2, 5)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_the_page_is_a_plan(example: str) -> None:
    plan = parse_plan(load_document(example, is_yaml=True), vaults=VAULTS, now=NOW)
    assert Plan.model_validate(plan.document()) == plan


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
