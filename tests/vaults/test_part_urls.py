"""Part URLs in their short form are the ones that the SDK signs; nothing here asks S3."""

from datetime import timedelta
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

import boto3
import pytest
import time_machine
from botocore.config import Config

from chalicelib.vaults.part_urls import sign_parts
from chalicelib.vaults.s3 import S3Vault

REGION = "eu-central-1"
KEY = "points/orders/nightly/20260101T021500Z-rp/data"
HOUR = timedelta(hours=1)


def a_vault(style: Literal["virtual", "path"] = "virtual", signature: str = "s3v4") -> S3Vault:
    """Make a vault whose credentials are temporary, as a function's are."""
    client = boto3.client(
        "s3",
        region_name=REGION,
        aws_access_key_id="ASIAEXAMPLE",
        aws_secret_access_key="a+secret/key=",
        aws_session_token="a/token+with=signs" * 40,
        config=Config(signature_version=signature, s3={"addressing_style": style}),
    )
    return S3Vault("primary", client, "kept", REGION)


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize("upload", ["upload.id", "an/upload+id=with signs~%"])
def test_urls_put_together_are_what_the_sdk_signs(style: Literal["virtual", "path"], upload: str) -> None:
    vault = a_vault(style)
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False):
        urls = vault.presign_parts(KEY, upload, range(1, 301), 3 * HOUR)
        signed = [vault.presign_part(KEY, upload, number, 3 * HOUR) for number in range(1, 301)]

    for number, url in enumerate(signed, start=1):
        assert _parsed(urls.url(number)) == _parsed(url)
    assert len(set(urls.signatures)) == 300


def test_all_share_one_instant_though_the_clock_runs() -> None:
    with time_machine.travel("2026-01-01T00:00:00.999Z", tick=True):
        urls = a_vault().presign_parts(KEY, "upload", range(1, 301), HOUR)

    dates = {_parsed(urls.url(number))[1]["X-Amz-Date"] for number in range(1, 301)}
    assert len(dates) == 1


def test_urls_of_later_parts_are_what_the_sdk_signs_too() -> None:
    vault = a_vault()
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False):
        urls = vault.presign_parts(KEY, "upload", range(9_999, 10_001), HOUR)
        signed = {number: vault.presign_part(KEY, "upload", number, HOUR) for number in (9_999, 10_000)}

    assert {number: _parsed(urls.url(number)) for number in signed} == {
        number: _parsed(url) for number, url in signed.items()
    }


def test_a_thousand_urls_are_read_in_a_moment() -> None:
    urls = a_vault().presign_parts(KEY, "u" * 128, range(9_001, 10_001), HOUR)

    assert len(urls.base) + sum(len(signature) + 1 for signature in urls.signatures) < 70_000


def test_an_old_signature_is_refused_not_given_out() -> None:
    with pytest.raises(ValueError, match="s3v4"):
        a_vault(signature="s3").presign_parts(KEY, "upload", range(1, 3), HOUR)


def test_another_key_than_the_one_that_signed_is_found_out() -> None:
    url = a_vault().presign_part(KEY, "upload", 1, HOUR)

    with pytest.raises(ValueError, match="credentials changed"):
        sign_parts(url, "another secret", range(1, 4))


def test_a_presigned_get_names_its_region_and_its_end() -> None:
    query = parse_qs(urlsplit(a_vault().presign_get(KEY, timedelta(minutes=90))).query)

    assert query["X-Amz-Expires"] == ["5400"]
    assert f"/{REGION}/s3/" in query["X-Amz-Credential"][0]


def _parsed(url: str) -> tuple[str, dict[str, str]]:
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}{address.path}", dict(parse_qsl(address.query))
