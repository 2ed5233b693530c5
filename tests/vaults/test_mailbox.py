"""The mailbox of a run: who may put what where, for how long, and that no letter is given twice."""

import base64
import hashlib
import http.client
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from chalicelib.errors import Conflict, NotFound
from chalicelib.on_instance import TAKEN, TAKEN_MD5
from chalicelib.vaults.mailbox import ADDRESS_LIVES, LetterSeen, Mailbox
from tests.vaults.conftest import S3Ground


@pytest.fixture
def mailbox(s3: S3Ground) -> Mailbox:
    """Give a job's mailbox in a vault of its own."""
    return Mailbox(s3.vault("kept"), "restore-1")


def send(
    method: str, url: str, data: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, bytes]:
    """Use a presigned URL as the runner does."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc)
    connection.request(method, f"{address.path}?{address.query}", data, dict(headers))
    answer = connection.getresponse()
    return answer.status, answer.read()


def take(mailbox: Mailbox, number: int) -> bytes:
    """Take a letter as the runner does."""
    get, put = mailbox.address(number)
    status, letter = send("GET", get)
    assert status == 200
    assert send("PUT", put, TAKEN, {"Content-MD5": TAKEN_MD5})[0] == 200
    return letter


def test_a_letter_that_was_taken_is_opened_by_nobody_any_more(mailbox: Mailbox) -> None:
    mailbox.write(1, "what may be done", None)
    known = mailbox.address(1, ADDRESS_LIVES)

    assert take(mailbox, 1) == b"what may be done"

    assert send("GET", known[0]) == (200, TAKEN)
    seen = mailbox.look(1)
    assert seen is not None
    assert seen.taken


def test_whoever_has_the_address_of_a_letter_can_put_nothing_else_in_its_place(mailbox: Mailbox) -> None:
    mailbox.write(1, "what may be done", None)
    _, put = mailbox.address(1)
    forged = b"base https://elsewhere"
    own = base64.b64encode(hashlib.md5(forged, usedforsecurity=False).digest()).decode()

    for headers in ({}, {"Content-MD5": TAKEN_MD5}, {"Content-MD5": own}):
        assert send("PUT", put, forged, headers)[0] in (400, 403)

    assert take(mailbox, 1) == b"what may be done"


def test_an_address_lives_minutes(s3: S3Ground, mailbox: Mailbox) -> None:
    mailbox.write(1, "what may be done", None)
    get, put = mailbox.address(1, ADDRESS_LIVES)
    s3.cloud.advance(ADDRESS_LIVES + timedelta(seconds=1))

    assert send("GET", get)[0] == send("PUT", put, TAKEN, {"Content-MD5": TAKEN_MD5})[0] == 403


def test_a_letter_that_was_taken_is_never_written_again(mailbox: Mailbox) -> None:
    mailbox.write(1, "first", None)
    seen = mailbox.look(1)
    assert seen is not None
    assert not seen.taken
    mailbox.write(1, "fresher", seen.etag)
    fresher = mailbox.look(1)
    assert fresher is not None
    take(mailbox, 1)

    for replaces in (None, seen.etag, fresher.etag):
        with pytest.raises(Conflict):
            mailbox.write(1, "once more", replaces)


def test_the_next_letter_may_be_asked_for_before_it_is_there(mailbox: Mailbox) -> None:
    get, _ = mailbox.address(2)
    assert send("GET", get)[0] == 404
    assert mailbox.look(2) is None

    mailbox.write(2, "second", None)

    assert send("GET", get) == (200, b"second")
    assert isinstance(mailbox.look(2), LetterSeen)


def test_a_report_is_put_by_whoever_has_its_url_and_all_goes_at_the_end(mailbox: Mailbox) -> None:
    mailbox.write(1, "what may be done", None)
    assert send("GET", mailbox.write_parts("3 abc\n")) == (200, b"3 abc\n")
    with pytest.raises(NotFound):
        mailbox.report()
    assert send("PUT", mailbox.report_url(), b"all is done")[0] == 200
    assert mailbox.report() == b"all is done"
    Mailbox(mailbox.vault, "restore-10").write(1, "another job's", None)

    mailbox.remove()

    assert [each.key for each in mailbox.vault.list("")] == ["mailbox/restore-10/letter-000001"]
