"""The settings are read whole, and fit what the stack has made and granted, or every fault is named."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from libcloud.storage.providers import DRIVERS

from chalicelib.errors import InvalidInput, Misconfigured
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig, Settings, read_settings
from chalicelib.vaults.providers import PROVIDERS

PRIMARY = {"kind": "s3", "region": "eu-central-1", "bucket": "farshore-home"}
DR = {"kind": "s3", "region": "eu-west-1", "bucket": "farshore-dr", "kms_key": "alias/dr"}
AZURE = {
    "kind": "libcloud",
    "provider": "azure_blobs",
    "container": "backups",
    "credentials": "farshore/azure",
    "options": {"host": "127.0.0.1", "port": 10000, "secure": False},
}


STACK = {
    "FARSHORE_STAGE": "s",
    "FARSHORE_TABLE": "t",
    "FARSHORE_JOBS_QUEUE_URL": "q",
    "AWS_REGION": "eu-central-1",
    "FARSHORE_VAULT_BUCKET": "farshore-home",
    "FARSHORE_OTHER_BUCKETS": "arn:aws:s3:::farshore-dr,arn:aws:s3:::b-two",
    "FARSHORE_DELETIONS_QUEUE_URL": "d",
}


def settings_with(document: Any, **more: str) -> Settings:
    vaults = document if isinstance(document, str) else json.dumps(document)
    return read_settings({**STACK, "FARSHORE_VAULTS": vaults, **more})


def faults(document: Any, **more: str) -> dict[str, Any]:
    with pytest.raises(Misconfigured) as refused:
        settings_with(document, **more)
    return {
        problem.pointer.removeprefix("/FARSHORE_VAULTS"): problem.value for problem in refused.value.problems
    }


def test_every_kind_of_vault_is_read() -> None:
    settings = settings_with({"dr": DR, "azure": AZURE})
    vaults = settings.vaults
    assert (
        settings.primary
        == vaults["primary"]
        == S3VaultConfig(kind="s3", region="eu-central-1", bucket="farshore-home")
    )
    assert vaults["dr"] == S3VaultConfig(
        kind="s3", region="eu-west-1", bucket="farshore-dr", kms_key="alias/dr"
    )
    azure = vaults["azure"]
    assert isinstance(azure, OffsiteVaultConfig)
    assert azure.credentials == "farshore/azure"
    assert azure.options == {"host": "127.0.0.1", "port": 10000, "secure": False}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{", {"": "{"}),
        ('{"primary": {}, "primary": {}}', {"/primary": None}),
        ([], {"": []}),
        ({"primary": AZURE}, {"/primary/kind": "libcloud"}),
        ({"primary": PRIMARY | {"region": "eu-west-1"}}, {"/primary/region": "eu-west-1"}),
        ({"primary": PRIMARY | {"bucket": "b-two"}}, {"/primary/bucket": "b-two"}),
        ({"primary": PRIMARY | {"kms_key": "alias/x"}}, {"/primary/kms_key": "alias/x"}),
        ({"dr": DR | {"bucket": "not-granted"}}, {"/dr/bucket": "not-granted"}),
        ({"azure": AZURE | {"provider": "azure_blob"}}, {"/azure/provider": "azure_blob"}),
        ({"azure": AZURE | {"credentials": "azure"}}, {"/azure/credentials": "azure"}),
        ({"azure": AZURE | {"credentials": "farshore/"}}, {"/azure/credentials": "farshore/"}),
        ({"primary": 3}, {"/primary": 3}),
        ({"primary": {}}, {"/primary/kind": None}),
        ({"primary": PRIMARY | {"kind": "ftp"}}, {"/primary/kind": "ftp"}),
        ({"primary": {"kind": "s3"}}, {"/primary/region": None, "/primary/bucket": None}),
        ({"dr": DR | {"region": "Frankfurt"}}, {"/dr/region": "Frankfurt"}),
        ({"dr": DR | {"region": "eu-west-1\n"}}, {"/dr/region": "eu-west-1\n"}),
        ({"primary": PRIMARY, "Off/Site": AZURE}, {"/Off~1Site": "Off/Site"}),
        ({"primary": PRIMARY, "dr": PRIMARY}, {"/dr/bucket": "farshore-home"}),
        ({"x": AZURE | {"container": ""}}, {"/x/container": ""}),
    ],
)
def test_a_faulty_vaults_document_is_refused_with_pointers(
    document: Any, expected: Mapping[str, Any]
) -> None:
    assert faults(document) == expected


def test_an_unknown_key_is_refused_without_showing_what_may_be_a_secret() -> None:
    document = {"primary": PRIMARY, "azure": AZURE | {"secret": "hunter2"}}
    with pytest.raises(
        InvalidInput, match="an unknown key; the keys here are container, credentials"
    ) as refused:
        settings_with(document)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "pointer", "says"),
    [
        ("FARSHORE_COPY_SLOTS", "0x3", "", "a whole number of at least 1"),
        ("FARSHORE_COPY_SLOTS", "0", "", "a whole number of at least 1"),
        ("FARSHORE_GRACE", "8d", "", "a duration from 0d to 7d"),
        ("FARSHORE_REQUEST_BUCKETS", "[]", "", "a mapping"),
        ("FARSHORE_REQUEST_BUCKETS", "{", "", "JSON: "),
        ("FARSHORE_REQUEST_BUCKETS", '{"C": {"size": 0, "refill_per_second": 5}}', "/C/size", "at least 1"),
        ("FARSHORE_REQUEST_BUCKETS", '{"C": {"size": 1, "refill": 5}}', "/C/refill", "an unknown key"),
        (
            "FARSHORE_REQUEST_BUCKETS",
            '{"C": {"size": 1, "refill_per_second": 0}}',
            "/C/refill_per_second",
            "above 0",
        ),
    ],
)
def test_each_setting_says_what_would_be_right(name: str, text: str, pointer: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        settings_with({"primary": PRIMARY}, **{name: text})
    found = {problem.pointer: problem.expected for problem in refused.value.problems}
    assert says in found[f"/{name}{pointer}"]


def test_what_is_not_set_has_its_default() -> None:
    settings = settings_with({"primary": PRIMARY}, FARSHORE_COPY_SLOTS="", FARSHORE_REQUEST_BUCKETS="{}")
    assert (settings.copy_slots, settings.grace, settings.buckets) == (20, timedelta(days=1), {})


@pytest.mark.parametrize(
    ("vault", "pointer", "says"),
    [
        (PRIMARY | {"kind": "libclod"}, "/dr/kind", "s3 or libcloud; did you mean libcloud?"),
        (AZURE | {"region": "eu-west-1"}, "/dr/region", "belongs where kind is s3"),
        (AZURE | {"credentials": None}, "/dr/credentials", "has no value"),
        (PRIMARY | {"region": "EU"}, "/dr/region", "a region of AWS, such as eu-west-1"),
    ],
)
def test_each_fault_of_a_vault_says_what_would_be_right(
    vault: dict[str, Any], pointer: str, says: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        settings_with({"primary": PRIMARY, "dr": vault | {"bucket": "b-two"} if "bucket" in vault else vault})
    found = {problem.pointer: problem.expected for problem in refused.value.problems}
    assert says in found[f"/FARSHORE_VAULTS{pointer}"]


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_settings({"FARSHORE_STAGE": "prod", "FARSHORE_TABLE": ""})
    pointers = [problem.pointer for problem in refused.value.problems]
    assert pointers == [
        "/AWS_REGION",
        "/FARSHORE_DELETIONS_QUEUE_URL",
        "/FARSHORE_JOBS_QUEUE_URL",
        "/FARSHORE_TABLE",
        "/FARSHORE_VAULT_BUCKET",
    ]


@pytest.mark.parametrize("document", ["", "{}", {"primary": PRIMARY}, {"primary": {"kind": "s3", **PRIMARY}}])
def test_the_primary_vault_is_the_stacks_own_whether_it_is_declared_or_not(document: Any) -> None:
    settings = settings_with(document)
    home = S3VaultConfig(kind="s3", region="eu-central-1", bucket="farshore-home")
    assert settings.vaults == {"primary": home}
    assert settings.primary == home
    assert settings.home_region == "eu-central-1"


def test_the_key_of_the_primary_vault_is_the_stacks_own() -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/1"
    settings = settings_with({"primary": PRIMARY | {"kms_key": key}}, FARSHORE_VAULT_KEY=key)
    assert settings.primary.kms_key == key


def test_the_place_and_the_remedy_of_a_contradiction_are_named() -> None:
    with pytest.raises(
        Misconfigured, match="/FARSHORE_VAULTS/primary/region: 'us-east-1' - eu-central-1, as"
    ):
        settings_with({"primary": PRIMARY | {"region": "us-east-1"}})
    with pytest.raises(Misconfigured, match="its ARN belongs into OtherVaultBucketArns"):
        settings_with({"dr": DR}, FARSHORE_OTHER_BUCKETS="")
    with pytest.raises(Misconfigured, match=r"such as azure_blobs; did you mean openstack_swift\?"):
        settings_with({"swift": AZURE | {"provider": "openstack_swfit"}})


def test_a_bucket_may_be_granted_in_any_partition() -> None:
    assert settings_with({"dr": DR}, FARSHORE_OTHER_BUCKETS="arn:aws-cn:s3:::farshore-dr").vaults["dr"]


def test_a_secret_may_be_named_by_its_arn() -> None:
    arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:farshore/azure-AbCdEf"
    assert settings_with({"azure": AZURE | {"credentials": arn}}).vaults["azure"]


def test_the_known_providers_are_those_of_the_packaged_libcloud() -> None:
    assert set(DRIVERS) == PROVIDERS


@pytest.mark.parametrize(
    ("text", "grace"),
    [
        ("", timedelta(days=1)),
        ("0", timedelta(0)),
        ("90m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("8d", None),
        ("1 day", None),
        ("-1h", None),
    ],
)
def test_the_grace_is_a_duration_of_a_week_at_most(text: str, grace: timedelta | None) -> None:
    environ = STACK | {"FARSHORE_GRACE": text}
    if grace is not None:
        assert read_settings(environ).grace == grace
        return
    with pytest.raises(InvalidInput) as refused:
        read_settings(environ)
    assert [problem.pointer for problem in refused.value.problems] == ["/FARSHORE_GRACE"]
