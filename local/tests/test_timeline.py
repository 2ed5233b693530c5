"""Order, waiting and patience of the timeline, on a clock of its own."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline

START = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with Clock(START) as clock:
        yield clock


def test_the_clock_moves_forward_only(clock: Clock) -> None:
    clock.advance_to(START + HOUR)
    clock.advance_to(START)
    assert clock.now() - START >= HOUR


def test_a_clock_that_does_not_tick_moves_only_when_it_is_moved() -> None:
    with Clock(START, ticking=False) as clock:
        timeline = Timeline(clock)
        seen: list[datetime] = []
        for hours in (2, 1):
            timeline.at(START + hours * HOUR, lambda: seen.append(clock.now()), "note")
        timeline.run_until(START + 3 * HOUR)
        assert [*seen, clock.now()] == [START + hours * HOUR for hours in (1, 2, 3)]


def test_whoever_sleeps_moves_a_clock_that_does_not_tick() -> None:
    with Clock(START, ticking=False) as clock:
        time.sleep(3600)
        assert clock.now() == START + HOUR
    began = time.monotonic()
    time.sleep(0.01)
    assert time.monotonic() - began >= 0.01


def test_actions_run_in_order_of_time_then_of_arrival_and_see_their_time(clock: Clock) -> None:
    timeline = Timeline(clock)
    seen: list[tuple[str, datetime]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now().replace(second=0, microsecond=0)))

    timeline.at(START + 2 * HOUR, lambda: note("late"), "late")
    for name in ("first", "second"):
        timeline.at(START + HOUR, lambda name=name: note(name), name)  # type: ignore[misc]  # bound early
    timeline.at(START + 9 * HOUR, lambda: note("never"), "never")
    timeline.run_until(START + 3 * HOUR)

    assert seen == [("first", START + HOUR), ("second", START + HOUR), ("late", START + 2 * HOUR)]
    assert clock.now() >= START + 3 * HOUR


def test_what_an_action_makes_due_runs_before_later_actions(clock: Clock) -> None:
    timeline = Timeline(clock)
    seen: list[str] = []
    timeline.at(
        START + HOUR,
        lambda: timeline.after(timedelta(minutes=1), lambda: seen.append("child"), "c"),
        "parent",
    )
    timeline.at(START + 2 * HOUR, lambda: seen.append("later"), "later")
    timeline.run_until(START + 2 * HOUR)
    assert seen == ["child", "later"]


def test_time_does_not_pass_over_work_that_still_runs(clock: Clock) -> None:
    timeline = Timeline(clock)
    may_end = threading.Event()
    ended_at: list[datetime] = []

    def start() -> None:
        work = timeline.running("script")

        def run() -> None:
            with work:
                may_end.wait(10)
                timeline.after(timedelta(0), lambda: ended_at.append(clock.now()), "ended")

        threading.Thread(target=run).start()
        timeline.after(timedelta(0), may_end.set, "let it end")

    timeline.at(START + HOUR, start, "start")
    timeline.run_until(START + 5 * HOUR)

    [ended] = ended_at
    assert ended - START < HOUR + timedelta(minutes=1)


def test_work_that_outlasts_the_patience_no_longer_holds_time(clock: Clock) -> None:
    timeline = Timeline(clock, patience=timedelta(milliseconds=50))
    with timeline.running("endless"):
        timeline.run_until(START + HOUR)
        assert clock.now() - START >= HOUR


def test_an_action_may_not_run_the_timeline(clock: Clock) -> None:
    timeline = Timeline(clock)
    timeline.at(START, lambda: timeline.run_until(START + HOUR), "greedy")
    with pytest.raises(RuntimeError, match="may not run the timeline"):
        timeline.run_due()
