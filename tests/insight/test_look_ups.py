"""Look-ups at once: each has its time, an error stays with its own, and nobody waits for one that hangs."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from chalicelib.errors import Throttled
from chalicelib.insight.checks import Unanswerable
from chalicelib.insight.look_ups import AtOnce

LONG, SHORT = timedelta(minutes=1), timedelta(milliseconds=20)


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Give what a look-up waits for, set in the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_look_up_that_hangs_is_unknown_and_the_others_are_answered(hanging: threading.Event) -> None:
    with AtOnce() as at_once:
        hung = at_once.begin("bucket of dr", hanging.wait, SHORT)
        done = at_once.begin("bucket of primary", lambda: 1, LONG)
        assert done.seen().value == 1
        with pytest.raises(Unanswerable, match="bucket of dr: no answer in time") as told:
            assert hung.seen().value
        assert told.value.remedy.startswith("ask again")
    assert not hanging.is_set()


def test_an_error_of_aws_is_kept_for_who_asks() -> None:
    def refused() -> int:
        raise Throttled("slow down")

    with AtOnce() as at_once:
        seen = at_once.begin("it", refused, LONG).seen()
    assert isinstance(seen.error, Throttled)
    assert seen.found is None


def test_a_bug_is_loud() -> None:
    def broken() -> int:
        raise KeyError("bug")

    with AtOnce() as at_once, pytest.raises(KeyError):
        at_once.begin("it", broken, LONG).seen()


def test_forty_look_ups_run_at_once() -> None:
    barrier = threading.Barrier(40, timeout=30)
    with AtOnce() as at_once:
        begun = [at_once.begin(str(number), barrier.wait, LONG) for number in range(40)]
        assert sorted(each.seen().value for each in begun) == list(range(40))
