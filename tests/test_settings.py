"""The vaults document is read whole, or every fault of it is named."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.errors import InvalidInput
from chalicelib.settings import OffsiteVaultConfig, S3VaultConfig, Settings, read_settings

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
    "FARSHORE_DELETIONS_QUEUE_URL": "d",
}


def settings_with(document: Any, **more: str) -> Settings:
    environ = dict(STACK)
    vaults = document if isinstance(document, str) else json.dumps(document)
    return read_settings({**environ, "FARSHORE_VAULTS": vaults, **more})


def faults(document: Any) -> dict[str, Any]:
    with pytest.raises(InvalidInput) as refused:
        settings_with(document)
    return {
        problem.pointer.removeprefix("/FARSHORE_VAULTS"): problem.value for problem in refused.value.problems
    }


def test_every_kind_of_vault_is_read() -> None:
    settings = settings_with({"primary": PRIMARY, "dr": DR, "azure": AZURE})
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
        ("", {"": None}),
        ("{", {"": "{"}),
        ('{"primary": {}, "primary": {}}', {"/primary": None}),
        ([], {"": []}),
        ({}, {"/primary": None}),
        ({"primary": AZURE}, {"/primary/kind": "libcloud"}),
        ({"primary": 3}, {"/primary": 3}),
        ({"primary": {}}, {"/primary/kind": None}),
        ({"primary": PRIMARY | {"kind": "ftp"}}, {"/primary/kind": "ftp"}),
        ({"primary": {"kind": "s3"}}, {"/primary/region": None, "/primary/bucket": None}),
        ({"primary": PRIMARY | {"region": "Frankfurt"}}, {"/primary/region": "Frankfurt"}),
        ({"primary": PRIMARY | {"region": "eu-central-1\n"}}, {"/primary/region": "eu-central-1\n"}),
        ({"primary": PRIMARY | {"bucket": "Not.A.Bucket"}}, {"/primary/bucket": "Not.A.Bucket"}),
        ({"primary": PRIMARY, "Off/Site": AZURE}, {"/Off~1Site": "Off/Site"}),
        ({"primary": PRIMARY, "dr": PRIMARY}, {"/dr/bucket": "farshore-home"}),
        ({"primary": PRIMARY, "x": AZURE | {"container": ""}}, {"/x/container": ""}),
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
        "/FARSHORE_DELETIONS_QUEUE_URL",
        "/FARSHORE_JOBS_QUEUE_URL",
        "/FARSHORE_TABLE",
        "/FARSHORE_VAULTS",
    ]


def test_the_home_region_is_the_primary_vaults() -> None:
    settings = read_settings(
        {
            **STACK,
            "FARSHORE_VAULTS": json.dumps({"primary": PRIMARY, "dr": DR}),
        }
    )
    assert settings.home_region == "eu-central-1"


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
    environ = dict(STACK)
    environ |= {"FARSHORE_VAULTS": json.dumps({"primary": PRIMARY}), "FARSHORE_GRACE": text}
    if grace is not None:
        assert read_settings(environ).grace == grace
        return
    with pytest.raises(InvalidInput) as refused:
        read_settings(environ)
    assert [problem.pointer for problem in refused.value.problems] == ["/FARSHORE_GRACE"]
