"""What an S3 vault does beyond a vault: uploads in parts, copies inside S3, presigned URLs."""

import http.client
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from chalicelib.errors import Conflict, NotFound, VaultMissing
from chalicelib.vaults.s3 import S3Vault
from tests.vaults.conftest import S3Ground

MIB = 1024 * 1024
KEY = "points/orders/nightly/20260101T021500Z-rp/data"
TAGS = {"farshore:recovery-point": "rp-1", "farshore:service": "orders & büros"}
HOUR = timedelta(hours=1)


@pytest.fixture
def vault(s3: S3Ground) -> S3Vault:
    """Give a vault in a bucket of its own."""
    return s3.vault("kept")


def send(method: str, url: str, data: bytes = b"") -> tuple[int, bytes]:
    """Use a presigned URL as curl does it on an instance."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc)
    connection.request(method, f"{address.path}?{address.query}", data)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_parts_become_one_object_with_its_tags(s3: S3Ground, vault: S3Vault) -> None:
    upload = vault.start_upload(KEY, TAGS)
    parts = [vault.put_part(KEY, upload, 1, b"a" * 5 * MIB), vault.put_part(KEY, upload, 2, b"end")]

    made = vault.finish_upload(KEY, upload, parts)

    assert vault.get(KEY) == b"a" * 5 * MIB + b"end"
    assert made == vault.head(KEY)
    found = s3.cloud.client("s3", vault.region).get_object_tagging(Bucket="kept", Key=KEY)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == TAGS | {"farshore:service": "orders _ büros"}


def test_an_upload_is_found_again_by_its_very_key(vault: S3Vault) -> None:
    assert vault.find_upload(KEY) is None
    vault.start_upload(KEY + "2", {})
    upload = vault.start_upload(KEY, {})

    assert vault.find_upload(KEY) == upload


def test_of_several_uploads_of_one_key_the_same_is_always_adopted(vault: S3Vault) -> None:
    uploads = {vault.start_upload(KEY, {}) for _ in range(5)}

    found = {vault.find_upload(KEY) for _ in range(5)}
    assert len(found) == 1
    assert found < uploads


def test_uploaded_parts_are_listed_by_number(vault: S3Vault) -> None:
    upload = vault.start_upload(KEY, {})
    third = vault.put_part(KEY, upload, 3, b"three")
    first = vault.put_part(KEY, upload, 1, b"a" * 5 * MIB)
    assert vault.uploaded_parts(KEY, upload) == (first, third)

    again = vault.put_part(KEY, upload, 3, b"3")
    assert vault.uploaded_parts(KEY, upload) == (first, again)


def test_finishing_over_an_object_is_a_conflict_and_leaves_it(vault: S3Vault) -> None:
    vault.put(KEY, b"there before")
    upload = vault.start_upload(KEY, {})
    part = vault.put_part(KEY, upload, 1, b"new")

    with pytest.raises(Conflict, match="the-kept:points/orders"):
        vault.finish_upload(KEY, upload, [part])
    assert vault.get(KEY) == b"there before"

    vault.finish_upload(KEY, upload, [part], if_absent=False)
    assert vault.get(KEY) == b"new"


def test_an_upload_that_is_gone_is_not_found(vault: S3Vault) -> None:
    upload = vault.start_upload(KEY, {})
    vault.abort_upload(KEY, upload)
    vault.abort_upload(KEY, upload)

    with pytest.raises(NotFound):
        vault.uploaded_parts(KEY, upload)
    assert vault.find_upload(KEY) is None


def test_a_copy_is_pinned_to_the_bytes_it_was_asked_for(s3: S3Ground, vault: S3Vault) -> None:
    far = s3.vault("far")
    vault.put(KEY, b"first")
    pinned = vault.head(KEY)
    assert pinned

    made = far.copy_from(vault, KEY, "copy", pinned.etag)
    assert (far.get("copy"), made.size_bytes) == (b"first", 5)

    vault.put(KEY, b"second")
    with pytest.raises(Conflict):
        far.copy_from(vault, KEY, "copy", pinned.etag)
    assert far.get("copy") == b"first"


def test_a_copy_in_parts_takes_the_spans_it_is_told(s3: S3Ground, vault: S3Vault) -> None:
    far = s3.vault("far")
    data = bytes(range(256)) * 30_000
    vault.put(KEY, data)
    pinned = vault.head(KEY)
    assert pinned
    origin = vault.copy_source(KEY, pinned.etag)
    upload = far.start_upload("copy", {})

    parts = [
        far.copy_part(origin, "copy", upload, 1, (0, 5 * MIB)),
        far.copy_part(origin, "copy", upload, 2, (5 * MIB, len(data) - 5 * MIB)),
    ]
    far.finish_upload("copy", upload, parts)
    assert far.get("copy") == data

    vault.put(KEY, b"x" * len(data))
    upload = far.start_upload("other", {})
    with pytest.raises(Conflict):
        far.copy_part(origin, "other", upload, 1, (0, 5 * MIB))


def test_a_copy_from_a_bucket_that_is_gone_says_so(s3: S3Ground, vault: S3Vault) -> None:
    with pytest.raises(VaultMissing):
        vault.copy_from(s3.vault("gone", exists=False), KEY, "copy", '"etag"')


def test_presigned_parts_put_together_are_taken_by_s3(vault: S3Vault) -> None:
    upload = vault.start_upload(KEY, {})
    urls = vault.presign_parts(KEY, upload, range(1, 4), HOUR)

    assert send("PUT", urls.url(2), b"end")[0] == 200
    assert send("PUT", urls.url(1), b"a" * 5 * MIB)[0] == 200

    held = vault.uploaded_parts(KEY, upload)
    assert [(part.number, part.size_bytes) for part in held] == [(1, 5 * MIB), (2, 3)]
    vault.finish_upload(KEY, upload, held)
    assert vault.get(KEY) == b"a" * 5 * MIB + b"end"


def test_a_presigned_part_opens_that_part_alone_and_only_for_a_time(s3: S3Ground, vault: S3Vault) -> None:
    upload = vault.start_upload(KEY, {})
    urls = vault.presign_parts(KEY, upload, range(1, 3), HOUR)

    for url in (
        urls.url(1).replace("partNumber=1", "partNumber=3"),
        urls.url(1).replace("/data?", "/other?"),
    ):
        assert send("PUT", url, b"x")[0] == 403
    s3.cloud.advance(2 * HOUR)
    assert send("PUT", urls.url(1), b"x")[0] == 403


def test_a_presigned_get_gives_the_object(vault: S3Vault) -> None:
    vault.put(KEY, b"data")

    assert send("GET", vault.presign_get(KEY, HOUR)) == (200, b"data")
