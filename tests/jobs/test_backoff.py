"""How long a job pauses after an error, and when it gives up."""

from datetime import timedelta

import pytest

from chalicelib.errors import FarshoreError, QuotaReached, Throttled, Unavailable
from chalicelib.jobs.backoff import FIRST, GIVE_UP_AFTER_ATTEMPTS, LONGEST, Pause, pause_after

AWAY, THROTTLED, QUOTA = Unavailable("away"), Throttled("slow"), QuotaReached("full")


@pytest.mark.parametrize(
    ("error", "attempts", "jitter", "cleaning", "expected"),
    [
        (AWAY, 0, 0.0, False, Pause(FIRST, 1)),
        (AWAY, 0, 1.0, False, Pause(FIRST * 2, 1)),
        (THROTTLED, 2, 1.0, False, Pause(FIRST * 8, 3)),
        (AWAY, 9, 1.0, False, Pause(LONGEST, 10)),
        (AWAY, GIVE_UP_AFTER_ATTEMPTS - 1, 1.0, False, Pause(LONGEST, GIVE_UP_AFTER_ATTEMPTS)),
        (AWAY, GIVE_UP_AFTER_ATTEMPTS, 0.5, False, None),
        (AWAY, GIVE_UP_AFTER_ATTEMPTS, 0.0, True, Pause(FIRST, GIVE_UP_AFTER_ATTEMPTS + 1)),
        (QUOTA, 0, 1.0, False, Pause(FIRST * 2, 1)),
        (QUOTA, 500, 1.0, False, Pause(FIRST * 64, 6)),
    ],
)
def test_pauses(
    error: FarshoreError, attempts: int, jitter: float, cleaning: bool, expected: Pause | None
) -> None:
    assert pause_after(error, attempts, jitter, cleaning=cleaning) == expected


def test_no_pause_is_shorter_than_the_first_or_longer_than_the_longest() -> None:
    for attempts in range(GIVE_UP_AFTER_ATTEMPTS):
        for tenth in range(11):
            pause = pause_after(AWAY, attempts, tenth / 10, cleaning=False)
            assert pause is not None
            assert FIRST <= pause.delay <= LONGEST + timedelta(0)
