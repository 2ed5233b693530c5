"""Settings that contradict what the stack has made or granted are told by the first request, by field."""

import json
from dataclasses import replace
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from stage import DR_BUCKET, HOME_BUCKET, open_stage
from tests.support.deployment import Deployment
from tests.support.farshore import cold_functions

DR = {"kind": "s3", "region": "eu-west-1", "bucket": DR_BUCKET}
FAR = {"kind": "libcloud", "provider": "local", "container": "farshore"}


@pytest.mark.parametrize(
    ("vaults", "field", "remedy"),
    [
        ({"primary": {**DR, "bucket": HOME_BUCKET}}, "/primary/region", "eu-central-1, as the stack has it"),
        ({"dr": {**DR, "bucket": "another"}}, "/dr/bucket", "OtherVaultBucketArns"),
        ({"far": {**FAR, "provider": "azure_blbs"}}, "/far/provider", "did you mean azure_blobs?"),
        ({"far": {**FAR, "credentials": "azure"}}, "/far/credentials", "begins with farshore/"),
    ],
)
def test_the_first_request_names_the_setting_that_is_wrong(
    cloud: Cloud, vaults: dict[str, Any], field: str, remedy: str
) -> None:
    cloud.reset()
    with open_stage(cloud.root) as stage, cold_functions():
        away, home = stage.plans()
        cloud.deploy((away, replace(home, parameters={**home.parameters, "Vaults": json.dumps(vaults)})))
        answer = Deployment(cloud, stage).ask("GET", "/plans")
    assert answer.status == 500
    [fault] = answer.document["errors"]
    assert fault["pointer"] == f"/FARSHORE_VAULTS{field}"
    assert remedy in fault["expected"]
