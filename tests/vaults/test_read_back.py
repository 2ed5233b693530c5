"""What is read back of an object, and what is said of the whole of it."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from chalicelib.errors import Conflict, IntegrityFailure
from chalicelib.vaults.read_back import READ_BYTES, PinnedObject, Verified, check_whole, read_back
from tests.vaults.conftest import S3Ground

KEY = "points/s/r/p/data"
DATA = bytes(range(256)) * 50_000
CUTS = (0, READ_BYTES + 7, READ_BYTES + 8, len(DATA))
PARTS = [(end - start, hashlib.sha256(DATA[start:end]).hexdigest()) for start, end in pairwise(CUTS)]
WHOLE = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def found(s3: S3Ground) -> PinnedObject:
    """Lay `DATA` into a vault."""
    vault = s3.vault("kept")
    vault.put(KEY, DATA)
    laid = vault.head(KEY)
    assert laid is not None
    return PinnedObject(vault, KEY, laid.etag)


def stopping_after(number: int) -> Callable[[], bool]:
    """Stop a turn after so many parts."""
    turns: Iterator[bool] = iter([False] * (number - 1) + [True] * 9)
    return lambda: next(turns)


def test_what_one_turn_reads_has_the_hash_of_the_whole(found: PinnedObject) -> None:
    assert read_back(found, PARTS, 0, lambda: False) == Verified(3, WHOLE)
    assert read_back(found, PARTS, 0, stopping_after(3)) == Verified(3, WHOLE)


@pytest.mark.parametrize("number", [1, 2])
def test_what_several_turns_read_is_known_by_its_parts_alone(found: PinnedObject, number: int) -> None:
    first = read_back(found, PARTS, 0, stopping_after(number))
    assert first == Verified(number)
    assert read_back(found, PARTS, number, lambda: False) == Verified(3)


def test_a_part_that_is_another_is_named(found: PinnedObject) -> None:
    wrong = [PARTS[0], (1, "f" * 64), PARTS[2]]
    with pytest.raises(
        IntegrityFailure, match=f"part 2 reads back as {PARTS[1][1]}, it should be {'f' * 64}"
    ):
        read_back(found, wrong, 0, lambda: False)


def test_an_object_that_was_replaced_meanwhile_is_not_read_on(found: PinnedObject) -> None:
    found.vault.put(KEY, DATA[::-1])
    with pytest.raises(Conflict):
        read_back(found, PARTS, 1, lambda: False)


def test_what_is_said_of_the_whole_is_compared_where_it_was_read() -> None:
    check_whole(WHOLE, Verified(3, WHOLE), "the instance", "primary:data")
    check_whole("f" * 64, Verified(3), "the instance", "primary:data")
    check_whole(None, Verified(3, WHOLE), "the catalog", "primary:data")
    with pytest.raises(
        IntegrityFailure, match=f"the whole reads back as {WHOLE}, the instance says {'f' * 64}"
    ):
        check_whole("f" * 64, Verified(3, WHOLE), "the instance", "primary:data")
