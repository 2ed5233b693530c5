"""An upgrade replaces and removes nothing that holds data: the templates are held against the last release's.

`held_by_last_release.json` has the id and the type of each resource that holds data, and the properties
whose change makes CloudFormation replace it. A release may add resources to the file; it never edits one.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/ says so of each property.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

DR_REGION = Path(__file__).parents[2] / ".chalice" / "dr-region.yaml"
RELEASED = json.loads(Path(__file__).with_name("held_by_last_release.json").read_text())
# What "Update requires: Replacement" stands at, in the reference of each type that holds data.
REPLACING = {
    "AWS::DynamoDB::Table": ("TableName", "KeySchema", "LocalSecondaryIndexes", "ImportSourceSpecification"),
    "AWS::S3::Bucket": ("BucketName", "BucketNamePrefix", "BucketNamespace"),
    "AWS::KMS::Key": ("KeySpec", "KeyUsage", "MultiRegion", "Origin"),
}


def held(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a template's resources that hold data are replaced by a change of."""
    return {
        name: {"Type": each["Type"]}
        | {key: each["Properties"][key] for key in REPLACING[each["Type"]] if key in each["Properties"]}
        for name, each in template["Resources"].items()
        if each["Type"] in REPLACING
    }


def lost(before: Mapping[str, Any], template: Mapping[str, Any]) -> set[str]:
    """Return the resources that an update to a template would replace or remove."""
    now = held(template)
    return {name for name, properties in before.items() if now.get(name) != properties}


@pytest.fixture(params=["home", "dr"])
def released(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def current(released: str, template: Mapping[str, Any]) -> dict[str, Any]:
    found = template if released == "home" else cfn_yaml.load(str(DR_REGION))
    return {"Resources": deepcopy({name: dict(each) for name, each in found["Resources"].items()})}


def test_nothing_that_holds_data_is_replaced_or_removed(released: str, current: dict[str, Any]) -> None:
    assert lost(RELEASED[released], current) == set()
    assert held(current) == RELEASED[released], "a new resource that holds data belongs into the file"


def test_what_holds_data_outlives_its_stack_but_not_a_failed_first_try(
    released: str, current: dict[str, Any]
) -> None:
    for name in held(current):
        resource = current["Resources"][name]
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource["UpdateReplacePolicy"] == "Retain"


def test_a_change_that_replaces_or_removes_would_be_seen(released: str, current: dict[str, Any]) -> None:
    for name in RELEASED[released]:
        changed = deepcopy(current)
        first = REPLACING[changed["Resources"][name]["Type"]][0]
        changed["Resources"][name]["Properties"][first] = "another"
        assert lost(RELEASED[released], changed) == {name}
        del changed["Resources"][name]
        assert lost(RELEASED[released], changed) == {name}
