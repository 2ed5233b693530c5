"""What S3 refuses and moto alone would not, called with boto3 and with bare HTTP."""

import base64
import hashlib
import http.client
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from little_stack import bare_endpoint
from local_cloud.call import CloudContext, Quotas
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline
from local_cloud.endpoint import Endpoint
from local_cloud.passing import moto_backend
from local_cloud.server import HttpAnswer, Server
from local_cloud.services.iam.sessions import Session
from local_cloud.services.s3 import S3
from local_cloud.services.s3.payload import decode_chunks

HOME, AWAY = "eu-central-1", "us-west-2"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROLE_KEY, ROLE_SECRET, ROLE_TOKEN = "ASIALOCALROLE", "role-secret", "role-token/+="
MIB = 1024 * 1024
PART = bytes(range(256)) * (5 * MIB // 256)


@dataclass
class World:
    """S3 on loopback with a bucket in each of two regions."""

    clock: Clock
    home: Any
    away: Any
    role: Any
    endpoint: Endpoint | None = None

    def presign(self, operation: str, client: Any = None, expires: int = 300, **params: Any) -> str:
        url: str = (client or self.home).generate_presigned_url(operation, Params=params, ExpiresIn=expires)
        return url

    def later(self, **by: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(**by))


@dataclass
class Gate:
    """A server whose endpoint each test brings, so that clients are made once."""

    endpoint: Endpoint | None = None

    def __call__(self, environ: WSGIEnvironment) -> HttpAnswer:
        assert self.endpoint
        return self.endpoint(environ)


Served = tuple[Gate, dict[str, Any]]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    gate = Gate()
    server = Server(gate)
    server.start()

    def client(key: str, secret: str, token: str | None, region: str) -> Any:
        session = boto3.Session(key, secret, token, region_name=region)
        config = Config(signature_version="s3v4", retries={"total_max_attempts": 1})
        return session.client("s3", endpoint_url=server.url, config=config)

    clients = {
        "home": client("test", "test", None, HOME),
        "away": client("test", "test", None, AWAY),
        "role": client(ROLE_KEY, ROLE_SECRET, ROLE_TOKEN, HOME),
    }
    yield gate, clients
    server.close()


@pytest.fixture
def world(tmp_path: Path, served: Served) -> Iterator[World]:
    moto_backend("s3").reset()
    gate, clients = served
    with Clock(START) as clock:
        ground = CloudContext(clock, Timeline(clock), lambda region, event: None, tmp_path, Quotas())
        temporary = Session(ROLE_KEY, ROLE_SECRET, ROLE_TOKEN)
        gate.endpoint = bare_endpoint(clock, ground.timeline, temporary)
        gate.endpoint.attach([S3()])
        made = World(clock, **clients)
        for region, client in ((HOME, made.home), (AWAY, made.away)):
            client.create_bucket(
                Bucket=f"bucket-{region}", CreateBucketConfiguration={"LocationConstraint": region}
            )
        yield made


BUCKET, FAR = f"bucket-{HOME}", f"bucket-{AWAY}"


def send(
    method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send one bare request, as curl would."""
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.netloc)
    connection.request(method, f"{split.path}?{split.query}", body, headers or {})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def digest(algorithm: str, data: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, data, usedforsecurity=False).digest()).decode()


def test_objects_come_back_as_they_were_put(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="a b/ü+~*.txt", Body=b"content", Metadata={"colour": "red"})
    got = world.home.get_object(Bucket=BUCKET, Key="a b/ü+~*.txt")
    assert (got["Body"].read(), got["Metadata"]) == (b"content", {"colour": "red"})
    world.role.upload_fileobj(io.BytesIO(PART * 4), BUCKET, "large")
    received = io.BytesIO()
    world.role.download_fileobj(BUCKET, "large", received)
    assert received.getvalue() == PART * 4
    assert [each["Key"] for each in world.home.list_objects_v2(Bucket=BUCKET)["Contents"]] == [
        "a b/ü+~*.txt",
        "large",
    ]
    world.home.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "large"}]})


def test_presigned_urls_put_and_get_until_they_expire(world: World) -> None:
    put = world.presign("put_object", Bucket=BUCKET, Key="k")
    get = world.presign("get_object", Bucket=BUCKET, Key="k")
    assert send("PUT", put, b"hello")[0] == 200
    assert send("GET", get) == (200, b"hello")
    assert send("GET", get, headers={"Range": "bytes=1-3"}) == (206, b"ell")
    world.later(seconds=301)
    status, body = send("GET", get)
    assert status == 403
    assert b"<Code>AccessDenied</Code>" in body
    assert b"Request has expired" in body


def test_presigned_url_is_good_for_one_method_path_and_query_only(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    get = world.presign("get_object", Bucket=BUCKET, Key="k")
    for changed, method in (
        (get, "DELETE"),
        (get.replace(f"{BUCKET}/k", f"{BUCKET}/other"), "GET"),
        (get + "&versionId=null", "GET"),
        (get.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"), "GET"),
        (get[:-1] + ("0" if get[-1] != "0" else "1"), "GET"),
    ):
        status, body = send(method, changed)
        assert (status, b"SignatureDoesNotMatch" in body) == (403, True), changed
    assert send("GET", get) == (200, b"hello")


def test_presigned_part_url_uploads_just_that_part(world: World) -> None:
    upload_id = world.home.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    named = {"Bucket": BUCKET, "Key": "k", "UploadId": upload_id}
    url = world.presign("upload_part", client=world.role, **named, PartNumber=1)
    assert send("PUT", url, b"tail")[0] == 200
    assert send("PUT", url.replace("partNumber=1", "partNumber=2"), b"tail")[0] == 403
    assert send("GET", url)[0] == 403
    parts = world.home.list_parts(**named)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in parts] == [(1, 4)]


def test_header_that_was_signed_must_come_and_no_other_amz_header_may(world: World) -> None:
    put = world.presign("put_object", Bucket=BUCKET, Key="k", StorageClass="STANDARD_IA")
    status, body = send("PUT", put, b"x")
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    assert send("PUT", put, b"x", {"x-amz-storage-class": "STANDARD_IA"})[0] == 200
    plain = world.presign("put_object", Bucket=BUCKET, Key="k")
    status, body = send("PUT", plain, b"x", {"x-amz-acl": "public-read"})
    assert (status, b"not signed" in body) == (403, True)


def test_presigned_url_dies_with_a_wrong_token_and_an_unknown_key(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    get = world.presign("get_object", client=world.role, Bucket=BUCKET, Key="k")
    assert send("GET", get) == (200, b"hello")
    status, body = send("GET", get.replace("role-token", "else-token"))
    assert (status, b"InvalidToken" in body) == (400, True)
    status, body = send("GET", get.replace(ROLE_KEY, "AKIANOBODY"))
    assert (status, b"InvalidAccessKeyId" in body) == (403, True)


def test_presigned_url_lasts_a_week_at_most(world: World) -> None:
    url = world.presign("get_object", expires=604_801, Bucket=BUCKET, Key="k")
    status, body = send("GET", url)
    assert (status, b"AuthorizationQueryParametersError" in body) == (400, True)


def test_unsigned_and_version_2_requests_are_refused(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    url = f"{world.home.meta.endpoint_url}/{BUCKET}/k"
    status, body = send("GET", url)
    assert (status, b"AccessDenied" in body) == (403, True)
    assert send("PUT", url, b"x")[0] == 403
    status, body = send("GET", f"{url}?AWSAccessKeyId=test&Signature=abc&Expires=1999999999")
    assert (status, b"AWS4-HMAC-SHA256" in body) == (400, True)


class AsGiven(S3SigV4Auth):
    """Signs the hash of the body that it is given, whatever the body is."""

    def payload(self, request: Any) -> str:
        return str(request.context["hash"])


def signed_put(world: World, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Put an object with headers of the test's own."""
    url = f"{world.home.meta.endpoint_url}/{BUCKET}/k"
    request = AWSRequest("PUT", url, headers)
    request.context["hash"] = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    AsGiven(Credentials("test", "test"), "s3", HOME).add_auth(request)
    return send("PUT", url, body, dict(request.headers.items()))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": digest("md5", b"other")}, b"BadDigest"),
        ({"Content-MD5": "nonsense"}, b"InvalidDigest"),
        ({"x-amz-content-sha256": hashlib.sha256(b"other").hexdigest()}, b"XAmzContentSHA256Mismatch"),
        ({"x-amz-content-sha256": "nonsense"}, b"InvalidArgument"),
        ({"x-amz-checksum-crc32": crc32(b"other")}, b"BadDigest"),
        ({"x-amz-checksum-crc32": "AAA="}, b"InvalidRequest"),
        ({"x-amz-checksum-sha1": digest("sha1", b"other")}, b"BadDigest"),
        (
            {"x-amz-checksum-sha256": digest("sha256", b"other")},
            b"BadDigest",
        ),
        ({"x-amz-checksum-crc32": crc32(b"body"), "x-amz-checksum-sha1": "AAA="}, b"InvalidRequest"),
    ],
)
def test_body_that_is_not_what_its_headers_say_is_refused(
    world: World, headers: dict[str, str], code: bytes
) -> None:
    status, body = signed_put(world, b"body", headers)
    assert (status, code in body) == (400, True), body
    assert "Contents" not in world.home.list_objects_v2(Bucket=BUCKET)


def test_body_that_is_what_its_headers_say_is_taken(world: World) -> None:
    headers = {
        "Content-MD5": digest("md5", b"body"),
        "x-amz-content-sha256": hashlib.sha256(b"body").hexdigest(),
        "x-amz-checksum-crc32": crc32(b"body"),
    }
    assert signed_put(world, b"body", headers)[0] == 200


def chunked(data: bytes, checksum: str) -> tuple[bytes, dict[str, str]]:
    body = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(data), data, checksum.encode())
    return body, {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-sdk-checksum-algorithm": "CRC32",
        "x-amz-trailer": "x-amz-checksum-crc32",
    }


def test_checksum_in_a_trailer_is_checked(world: World) -> None:
    assert signed_put(world, *chunked(b"streamed", crc32(b"streamed")))[0] == 200
    assert world.home.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"streamed"
    status, body = signed_put(world, *chunked(b"streamed", crc32(b"other")))
    assert (status, b"BadDigest" in body) == (400, True)
    cut, headers = chunked(b"streamed", crc32(b"streamed"))
    status, body = signed_put(world, cut, headers | {"x-amz-decoded-content-length": "9"})
    assert (status, b"IncompleteBody" in body) == (400, True)
    status, body = signed_put(world, b"8\r\nstreamed\r\n0\r\n\r\n", headers)
    assert (status, b"MalformedTrailerError" in body) == (400, True)


def test_signed_chunks_are_taken_apart_too() -> None:
    body = b"4;chunk-signature=aa\r\nabcd\r\n2;chunk-signature=bb\r\n\r\n\r\n0;chunk-signature=cc\r\n\r\n"
    assert decode_chunks(body) == (b"abcd\r\n", {})


def test_object_is_created_once_where_asked(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        world.home.put_object(Bucket=BUCKET, Key="k", Body=b"second", IfNoneMatch="*")
    assert code_of(caught) == "PreconditionFailed"
    upload = start(world)
    with pytest.raises(ClientError) as caught:
        finish(world, upload, [put_part(world, upload, 1, b"second")], IfNoneMatch="*")
    assert code_of(caught) == "PreconditionFailed"
    assert world.home.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


def start(world: World, key: str = "k") -> dict[str, Any]:
    upload_id = world.home.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    return {"Bucket": BUCKET, "Key": key, "UploadId": upload_id}


def put_part(world: World, upload: dict[str, Any], number: int, body: bytes) -> dict[str, Any]:
    etag = world.home.upload_part(**upload, PartNumber=number, Body=body)["ETag"]
    return {"PartNumber": number, "ETag": etag}


def finish(world: World, upload: dict[str, Any], parts: list[dict[str, Any]], **more: Any) -> Any:
    return world.home.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **more)


def test_multipart_upload_becomes_one_object_and_its_parts_are_freed(world: World) -> None:
    upload = start(world)
    finish(world, upload, [put_part(world, upload, 1, PART), put_part(world, upload, 7, b"tail")])
    head = world.home.head_object(Bucket=BUCKET, Key="k")
    assert head["ContentLength"] == len(PART) + 4
    assert head["ETag"].endswith('-2"')
    got = world.home.get_object(Bucket=BUCKET, Key="k", Range=f"bytes={len(PART) - 2}-")
    assert got["Body"].read() == PART[-2:] + b"tail"
    kept = moto_backend("s3")["123456789012"]["aws"].get_object(BUCKET, "k")
    assert all(part.disposed for part in kept.multipart.parts.values())
    assert finish(world, upload, [{"PartNumber": 1, "ETag": "x"}])["ETag"] == head["ETag"]


def test_parts_must_be_ordered_known_large_enough_and_numbered_up_to_10000(world: World) -> None:
    upload = start(world)
    small, tail = put_part(world, upload, 1, b"small"), put_part(world, upload, 2, b"tail")
    for parts, code in (
        ([small, tail], "EntityTooSmall"),
        ([tail, small], "InvalidPartOrder"),
        ([small, small], "InvalidPartOrder"),
        ([small | {"ETag": '"0123456789abcdef0123456789abcdef"'}], "InvalidPart"),
        ([{"PartNumber": 3, "ETag": small["ETag"]}], "InvalidPart"),
    ):
        with pytest.raises(ClientError) as caught:
            finish(world, upload, parts)
        assert code_of(caught) == code
    for number in (0, 10_001):
        with pytest.raises(ClientError) as caught:
            put_part(world, upload, number, b"x")
        assert code_of(caught) == "InvalidArgument"
    assert len(world.home.list_parts(**upload)["Parts"]) == 2


def test_upload_that_is_not_there_is_no_such_upload(world: World) -> None:
    gone = start(world)
    world.home.abort_multipart_upload(**gone)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: put_part(world, gone, 1, b"x"),
        lambda: finish(world, gone, [{"PartNumber": 1, "ETag": "x"}]),
        lambda: world.home.list_parts(**gone),
        lambda: world.home.abort_multipart_upload(**gone),
        lambda: world.home.upload_part_copy(**gone, PartNumber=1, CopySource=f"{BUCKET}/k"),
    )
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "NoSuchUpload"


def test_copy_is_pinned_to_the_sources_etag(world: World) -> None:
    etag = world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")["ETag"]
    source = {"Bucket": BUCKET, "Key": "k"}
    world.away.copy_object(Bucket=FAR, Key="k", CopySource=source, CopySourceIfMatch=etag)
    assert world.away.get_object(Bucket=FAR, Key="k")["Body"].read() == b"hello"
    upload = start(world, "copy")
    copies: tuple[Callable[[], Any], ...] = (
        lambda: world.away.copy_object(Bucket=FAR, Key="no", CopySource=source, CopySourceIfMatch='"other"'),
        lambda: world.home.upload_part_copy(
            **upload, PartNumber=1, CopySource=source, CopySourceIfMatch='"other"'
        ),
        lambda: world.away.copy_object(Bucket=FAR, Key="no", CopySource=source, CopySourceIfNoneMatch=etag),
    )
    for copy in copies:
        with pytest.raises(ClientError) as caught:
            copy()
        assert code_of(caught) == "PreconditionFailed"
    with pytest.raises(ClientError) as caught:
        world.away.copy_object(Bucket=FAR, Key="no", CopySource={"Bucket": BUCKET, "Key": "missing"})
    assert code_of(caught) == "NoSuchKey"


def test_part_copy_must_lie_within_its_source(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="source", Body=b"0123456789")
    upload, source = start(world), {"Bucket": BUCKET, "Key": "source"}
    for span in ("bytes=5-10", "bytes=7-6", "bytes=5-", "5-6"):
        with pytest.raises(ClientError) as caught:
            world.home.upload_part_copy(**upload, PartNumber=1, CopySource=source, CopySourceRange=span)
        assert code_of(caught) == "InvalidArgument"
    copied = world.home.upload_part_copy(
        **upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=5-9"
    )
    finish(world, upload, [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}])
    assert world.home.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"56789"


def test_copy_of_more_than_five_gigabytes_in_one_call_is_refused(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    stored = moto_backend("s3")["123456789012"]["aws"].get_object(BUCKET, "k")
    stored.contentsize = 5 * 1024**3 + 1
    with pytest.raises(ClientError) as caught:
        world.home.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "k"})
    assert code_of(caught) == "InvalidRequest"


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("bytes=0-0", b"0"),
        ("bytes=2-4", b"234"),
        ("bytes=7-", b"789"),
        ("bytes=8-99", b"89"),
        ("bytes=-3", b"789"),
        ("bytes=-99", b"0123456789"),
        ("bytes=5-3", b"0123456789"),
        ("bytes=0-1,3-4", b"0123456789"),
    ],
)
def test_range_is_read_as_s3_reads_it(world: World, span: str, expected: bytes) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
    assert world.home.get_object(Bucket=BUCKET, Key="k", Range=span)["Body"].read() == expected


def test_range_says_where_it_lies_and_of_what(world: World) -> None:
    put = world.home.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789", Metadata={"colour": "red"})
    got = world.home.get_object(Bucket=BUCKET, Key="k", Range="bytes=2-4")
    assert (got["ContentRange"], got["ContentLength"]) == ("bytes 2-4/10", 3)
    assert (got["ETag"], got["Metadata"]) == (put["ETag"], {"colour": "red"})
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_range_beyond_the_object_and_conditions_are_refused(world: World) -> None:
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"0123456789")
    world.home.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    for params, code in (
        ({"Key": "k", "Range": "bytes=10-12"}, "InvalidRange"),
        ({"Key": "k", "Range": "bytes=-0"}, "InvalidRange"),
        ({"Key": "empty", "Range": "bytes=0-"}, "InvalidRange"),
        ({"Key": "missing", "Range": "bytes=0-1"}, "NoSuchKey"),
        ({"Key": "k", "Range": "bytes=0-1", "IfMatch": '"other"'}, "PreconditionFailed"),
    ):
        with pytest.raises(ClientError) as caught:
            world.home.get_object(Bucket=BUCKET, **params)
        assert code_of(caught) == code


def test_bucket_answers_in_its_own_region_only(world: World) -> None:
    url = world.presign("get_object", client=world.away, Bucket=BUCKET, Key="k")
    status, body = send("GET", url)
    assert (status, b"PermanentRedirect" in body) == (301, True)
    world.home.put_object(Bucket=BUCKET, Key="k", Body=b"hello")
    followed = world.away.get_object(Bucket=BUCKET, Key="k")  # boto3 asks again in the right region
    assert followed["Body"].read() == b"hello"


def test_bucket_that_is_not_there_is_no_such_bucket(world: World) -> None:
    calls: tuple[Callable[[], Any], ...] = (
        lambda: world.home.put_object(Bucket="nowhere", Key="k", Body=b"x"),
        lambda: world.home.get_object(Bucket="nowhere", Key="k"),
        lambda: world.home.list_objects_v2(Bucket="nowhere"),
        lambda: world.home.create_multipart_upload(Bucket="nowhere", Key="k"),
        lambda: world.home.copy_object(Bucket=BUCKET, Key="k", CopySource="nowhere/k"),
    )
    for call in calls:
        with pytest.raises(ClientError) as caught:
            call()
        assert code_of(caught) == "NoSuchBucket"
