"""Removing what a failed job made, again and again, until it is gone."""

from datetime import timedelta

import pytest

from chalicelib.errors import Conflict, Unavailable
from chalicelib.jobs.decision import Wait
from chalicelib.jobs.removal import FIRST_PAUSE, LONGEST_PAUSE, Removal, remove
from tests.jobs.made import NOON


def _stuck(id: str) -> None:
    if id == "stuck":
        raise Conflict("an AMI uses it")


def test_one_that_cannot_be_removed_holds_up_no_other() -> None:
    removal = remove(Removal(), ["one", "stuck", "two"], _stuck, NOON)
    assert removal.removed == ("one", "two")
    assert removal.refused == {"stuck": "an AMI uses it"}
    assert removal.left_of(["one", "stuck", "two"]) == ("stuck",)


def test_what_was_refused_is_tried_again_with_growing_pauses() -> None:
    removal, now, pauses = Removal(), NOON, []
    for _ in range(9):
        removal = remove(removal, ["stuck"], _stuck, now)
        wait = removal.due(["stuck"], now)
        assert isinstance(wait, Wait)
        pauses.append(wait.until - now)
        now = wait.until
        assert removal.due(["stuck"], now) == ("stuck",)
    assert pauses[:3] == [FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert pauses[-1] == LONGEST_PAUSE


def test_what_is_new_is_removed_before_what_was_refused_is_tried_again() -> None:
    removal = remove(Removal(), ["stuck"], _stuck, NOON)
    assert removal.due(["stuck", "new"], NOON) == ("new",)


def test_what_was_refused_once_may_go_later() -> None:
    removal = remove(Removal(), ["stuck"], _stuck, NOON)
    removal = remove(removal, ["stuck"], lambda id: None, NOON + timedelta(hours=1))
    assert (removal.removed, removal.refused) == (("stuck",), {})
    assert removal.due(["stuck"], NOON) == ()


def test_an_error_that_passes_leaves_the_removal_as_it_was() -> None:
    def away(id: str) -> None:
        raise Unavailable("no answer")

    with pytest.raises(Unavailable):
        remove(Removal(), ["one"], away, NOON)
    at_end = remove(Removal(), ["one", "two"], away, NOON, at_end=True)
    assert (at_end.refused, at_end.tries) == ({"one": "no answer", "two": "no answer"}, 1)
