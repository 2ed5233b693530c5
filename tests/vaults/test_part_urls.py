"""Part URLs in their short form are the ones that the SDK signs; nothing here asks S3."""

from datetime import timedelta
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, urlsplit

import boto3
import pytest
import time_machine
from botocore.config import Config

from chalicelib.errors import Unavailable
from chalicelib.vaults.part_urls import shorten
from chalicelib.vaults.s3 import S3Vault

REGION = "eu-central-1"
KEY = "points/orders/nightly/20260101T021500Z-rp/data"
HOUR = timedelta(hours=1)


def a_vault(
    style: Literal["virtual", "path"] = "virtual", signature: str = "s3v4", access_key: str = "ASIAEXAMPLE"
) -> S3Vault:
    """Make a vault whose credentials are temporary, as a function's are."""
    client = boto3.client(
        "s3",
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key="a+secret/key=",
        aws_session_token="a/token+with=signs" * 40,
        config=Config(signature_version=signature, s3={"addressing_style": style}),
    )
    return S3Vault("primary", client, "kept", REGION)


@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize("upload", ["upload.id", "an/upload+id=with signs~%"])
@pytest.mark.parametrize("numbers", [range(1, 301), range(9_999, 10_001)])
def test_urls_put_together_are_what_the_sdk_signs(
    style: Literal["virtual", "path"], upload: str, numbers: range
) -> None:
    vault = a_vault(style)
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False):
        urls = vault.presign_parts(KEY, upload, numbers, 3 * HOUR)
        signed = {number: vault.presign_part(KEY, upload, number, 3 * HOUR) for number in numbers}

    assert {number: _parsed(urls.url(number)) for number in signed} == {
        number: _parsed(url) for number, url in signed.items()
    }
    assert len(set(urls.signatures)) == len(numbers)


def test_urls_signed_in_two_seconds_each_have_their_own() -> None:
    vault = a_vault()
    signed = []
    for second, number in (("00", 1), ("01", 2)):
        with time_machine.travel(f"2026-01-01T00:00:{second}Z", tick=False):
            signed.append(vault.presign_part(KEY, "upload", number, HOUR))

    urls = shorten(signed, 1)

    assert [_parsed(urls.url(number)) for number in (1, 2)] == [_parsed(url) for url in signed]


def test_a_part_is_signed_without_a_checksum_that_the_instance_would_have_to_send() -> None:
    _, query = _parsed(a_vault().presign_part(KEY, "upload", 1, HOUR))

    assert set(query) == {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "partNumber",
        "uploadId",
    }
    assert query["X-Amz-SignedHeaders"] == "host"


def test_a_thousand_urls_are_read_in_a_moment() -> None:
    urls = a_vault().presign_parts(KEY, "u" * 128, range(9_001, 10_001), HOUR)

    assert (
        len(urls.base) + sum(len(date) + len(signature) + 2 for date, signature in urls.signatures) < 90_000
    )


def test_an_old_signature_is_refused_not_given_out() -> None:
    with pytest.raises(ValueError, match="s3v4"):
        a_vault(signature="s3").presign_parts(KEY, "upload", range(1, 3), HOUR)


def test_the_urls_of_two_credentials_are_not_mixed() -> None:
    """As when a session is renewed in between."""
    first, second = a_vault(), a_vault(access_key="ASIAANOTHER")
    signed = [first.presign_part(KEY, "upload", 1, HOUR), second.presign_part(KEY, "upload", 2, HOUR)]

    with pytest.raises(Unavailable, match="credentials changed"):
        shorten(signed, 1)


def test_a_presigned_get_names_its_region_and_its_end() -> None:
    query = parse_qs(urlsplit(a_vault().presign_get(KEY, timedelta(minutes=90))).query)

    assert query["X-Amz-Expires"] == ["5400"]
    assert f"/{REGION}/s3/" in query["X-Amz-Credential"][0]


def _parsed(url: str) -> tuple[str, dict[str, str]]:
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}{address.path}", dict(parse_qsl(address.query))
