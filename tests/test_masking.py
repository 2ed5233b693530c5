"""Secrets do not get into reasons, documents and logs, whichever way the text comes in."""

import io
import json
import time
from contextlib import redirect_stdout

import pytest

from chalicelib import errors
from chalicelib.aws.ssm import Invocation
from chalicelib.errors import FarshoreError
from chalicelib.masking import mask
from chalicelib.observability import logger

SECRET = "hunter2"
KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    "text",
    [
        "mysqldump -u root -phunter2 orders",
        "+ mysqldump '-phunter2' orders",
        "mariadb-dump --password=hunter2 orders",
        'mariadb-dump --password="hunter2 and more" orders',
        "mongodump --password hunter2 --archive",
        "PGPASSWORD=hunter2 pg_dump orders",
        "+ export PGPASSWORD='hunter2 and more'",
        "MYSQL_PWD=hunter2",
        "DB_PASSWORD=hunter2",
        "db_passwd = hunter2",
        "GITHUB_TOKEN=hunter2",
        "REDISCLI_AUTH=hunter2 redis-cli ping",
        "redis-cli -h 10.0.0.1 -a hunter2 --rdb -",
        "sshpass -p hunter2 ssh host",
        "curl -u admin:hunter2 https://example.com",
        "Authorization: Bearer hunter2",
        '{"password": "hunter2", "port": 1}',
        'connection to "postgresql://orders:hunter2@db.internal:5432/orders" failed',
        "amqp://:hunter2@queue/",
        "redis://orders:hunter2@here@cache/0",
        "https://b.s3.amazonaws.com/k?X-Amz-Signature=hunter2&x=1",
        "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=hunter2",
        "https://a.blob.core.windows.net/c/b?sv=1&sig=hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ],
)
def test_a_secret_is_masked_and_the_rest_stays(text: str) -> None:
    masked = mask(text)

    assert SECRET not in masked
    assert "***" in masked
    assert masked.split()[0][:3] == text.split()[0][:3]
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", f"key {KEY}.", "AGE-SECRET-KEY-1QQPZ"]
)
def test_a_key_is_masked_wherever_it_stands(text: str) -> None:
    masked = mask(text)
    assert masked != text
    assert masked.count("***") == 1


@pytest.mark.parametrize(
    "text",
    [
        'pg_dump: error: could not fsync file "/var/tmp/farshore/job/out/output": Invalid argument',
        'FATAL:  password authentication failed for user "orders"',
        "Enter password: ERROR 1045 (28000): Access denied",
        "find . -print0 -path ./data -perm 600 -prune",
        "mkdir -p /var/lib/orders",
        "https://example.com:8443/orders?at=12:00",
        "SHA-256 " + "a1" * 32,
        "commit " + "a1" * 20,
        "primary:points/orders/nightly/20260101T021500Z-rp-0123456789abcdef01234567/data",
        "NoSuchKey: the tokens of the secret key are signed",
        "PWD=/opt/orders",
        "tar: ./db: file changed as we read it",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "unit", ["a", "-p", "password=", "://a:", "'", '"password": "', "A1b/", "-----BEGIN PRIVATE KEY-----"]
)
def test_long_text_is_masked_in_a_moment(unit: str) -> None:
    text = (unit * 24_000)[:24_000]
    began = time.process_time()
    mask(text)
    assert time.process_time() - began < 1


def test_what_an_instance_says_is_masked_as_it_comes_in() -> None:
    said = Invocation("Failed", "Failed", 1, "PGPASSWORD=hunter2", "mysql -phunter2 orders: denied")
    assert (said.stdout, said.stderr) == ("PGPASSWORD=***", "mysql -p*** orders: denied")


FOREIGN = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, FarshoreError)
]


@pytest.mark.parametrize("kind", [each for each in FOREIGN if each.__init__ is FarshoreError.__init__])
def test_what_an_exception_says_is_masked_whatever_its_kind(kind: type[FarshoreError]) -> None:
    error = kind("denied: PGPASSWORD=hunter2", resource="https://u:hunter2@host/")
    assert str(error) == "https://u:***@host/: denied: PGPASSWORD=***"


def test_what_a_wrong_input_says_in_a_text_is_masked() -> None:
    error = errors.InvalidInput("a plan", [errors.Problem("/x", "PGPASSWORD=hunter2", "none")])
    assert SECRET not in str(error)


def test_a_log_line_has_no_secret_not_even_in_its_trace() -> None:
    with redirect_stdout(io.StringIO()) as out:
        try:
            raise ValueError("denied: PGPASSWORD=hunter2")  # noqa: TRY301
        except ValueError as error:
            logger().exception("failed", extra={"error": str(error), "more": {"urls": ["ftp://u:hunter2@h"]}})

    line = json.loads(out.getvalue())
    assert SECRET not in out.getvalue()
    assert (line["error"], line["more"]) == ("denied: PGPASSWORD=***", {"urls": ["ftp://u:***@h"]})
