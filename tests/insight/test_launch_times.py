"""Times of launches and restores: nearest rank, and launches many at once apart from those one at a time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.insight.launch_times import (
    LaunchTimes,
    Measured,
    apart_by_beginning,
    launch_times,
)
from chalicelib.jobs.job import JobKind, JobRequest
from chalicelib.jobs.step_times import in_seconds, nearest_rank
from tests.jobs.made import NOON, job_of

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a launch records of itself."""

    running_at: datetime | None = None
    online_at: datetime | None = None
    restored_at: datetime | None = None
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a launch was asked for."""

    began_at: datetime


def request(kind: JobKind, work: object) -> JobRequest[object]:
    return JobRequest(kind, "m", "s", "p", "r", NOON, ("k",), work, "asked")


def began(*seconds: float, took: float = 60) -> list[LaunchTimes]:
    """Return launches that began at these seconds after noon, each verified after so many."""
    return [
        LaunchTimes(at, verified_at=at + took * SECOND) for at in (NOON + each * SECOND for each in seconds)
    ]


@pytest.mark.parametrize(
    ("count", "percent", "rank"),
    [
        (1, 50, 1),
        (1, 99, 1),
        (2, 50, 1),
        (3, 50, 2),
        (4, 50, 2),
        (99, 99, 99),
        (100, 50, 50),
        (100, 99, 99),
        (101, 99, 100),
        (200, 99, 198),
    ],
)
def test_a_percentile_is_a_value_that_was_measured(count: int, percent: int, rank: int) -> None:
    values = [number * SECOND for number in range(count, 0, -1)]
    assert nearest_rank(values, percent) == rank * SECOND


@pytest.mark.parametrize(
    ("seconds", "many"),
    [
        ([], 0),
        (range(9), 0),
        (range(10), 10),
        ([*range(0, 301, 100), *range(6)], 10),
        ([number * 33.4 for number in range(10)], 0),
        ([number * 33.3 for number in range(10)], 10),
        ([*range(10), 10_000], 10),
        ([*range(10), *range(10_000, 10_009)], 10),
        ([*range(10), *range(10_000, 10_010)], 20),
        ([number * 31 for number in range(12)], 12),
    ],
)
def test_ten_launches_within_five_minutes_are_many_at_once(seconds: list[float], many: int) -> None:
    launches = began(*seconds)
    alone, together = apart_by_beginning(reversed(launches))
    assert len(together) == many
    assert sorted([*alone, *together], key=lambda each: each.began_at) == sorted(
        launches, key=lambda each: each.began_at
    )


@pytest.mark.parametrize(
    ("taken", "text"),
    [(ZERO, "1s"), (0.2 * SECOND, "1s"), (1.2 * SECOND, "2s"), (2 * MINUTE, "2m"), (61 * SECOND, "61s")],
)
def test_times_are_rounded_up_to_a_second(taken: timedelta, text: str) -> None:
    assert in_seconds(taken) == text


def test_a_launch_has_the_steps_that_it_recorded() -> None:
    progress = Progress(NOON + 20 * SECOND, NOON + 50 * SECOND, None, NOON + 90 * SECOND)
    job = job_of(request(JobKind.LAUNCH, Work(NOON - 10 * SECOND)), progress, created_at=NOON)
    times = launch_times(job, verified=False)
    steps = [times.until(step) for step in ("running", "online", "restored", "verified")]
    assert steps == [30 * SECOND, 60 * SECOND, None, 100 * SECOND]


def test_a_launch_that_recorded_nothing_has_no_step() -> None:
    job = job_of(request(JobKind.LAUNCH, object()), object())
    assert launch_times(job, verified=True) == LaunchTimes(NOON)
    answer = Measured((launch_times(job, verified=True),)).answer()
    assert (answer.one_at_a_time, answer.many_at_once, answer.says) == ((), (), "launches: 1, restores: 0")


@pytest.mark.parametrize(("verified", "step"), [(True, "verified"), (False, "restored")])
def test_of_a_restore_the_end_is_known(verified: bool, step: str) -> None:
    job = job_of(request(JobKind.RESTORE, object()), None, updated_at=NOON + MINUTE)
    times = launch_times(job, verified=verified)
    assert {name: times.until(name) for name in ("restored", "verified") if times.until(name)} == {
        step: MINUTE
    }


def test_each_way_to_begin_has_its_own_times_and_the_slowest_counts() -> None:
    measured = Measured(
        (*began(*range(20), took=300), *began(9_000, took=60), *began(18_000, took=90)), tuple(began(0))
    )
    answer = measured.answer()
    [alone], [many], [restores] = answer.one_at_a_time, answer.many_at_once, answer.restores
    assert (alone.step, alone.count, alone.p50, alone.p99) == ("verified", 2, "1m", "90s")
    assert (many.step, many.count, many.p50, many.p99) == ("verified", 20, "5m", "5m")
    assert (restores.count, restores.p99) == (1, "1m")
    assert measured.slowest() == 5 * MINUTE
    assert answer.says == "launches: 22, restores: 1"


def test_where_nothing_was_measured_it_says_so() -> None:
    answer = Measured().answer()
    assert (answer.one_at_a_time, answer.many_at_once, answer.restores) == ((), (), ())
    assert answer.says.startswith("no launch and no restore of this service has completed yet")
    assert Measured().slowest() is None


def test_a_step_is_not_the_end_of_a_launch() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert Measured((LaunchTimes(at, running_at=at + MINUTE),)).slowest() is None
