"""What the snapshot benchmark makes of its figures is right; how large they are, is no test."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.call_record import (
    CallRecord,
    Invocation,
    Made,
    Outcome,
    by_operation,
    by_service,
    ended,
    mutating_ec2,
    of_functions,
    starting,
)
from benchmarks.custodian_run import last_line
from benchmarks.farshore_run import functions_of, planning_tick
from benchmarks.snapshot_table import fault, table
from benchmarks.snapshots import service_of, sizes_of
from benchmarks.starts import bound_seconds, percentile, sum_up
from local_cloud.recognise import Signed, Target

NIGHT = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
CALLS: Mapping[Made, int] = {
    Made("AdvanceJobs", "ec2", "CreateSnapshots", Outcome.MADE): 10,
    Made("AdvanceJobs", "ec2", "CreateSnapshots", Outcome.REFUSED): 3,
    Made("Completions", "ec2", "DescribeSnapshots", Outcome.MADE): 7,
    Made("AdvanceJobs", "dynamodb", "PutItem", Outcome.FAILED): 5,
    Made("Tick", "dynamodb", "Query", Outcome.MADE): 1,
    Made("APIHandler", "dynamodb", "Query", Outcome.MADE): 100,
    Made(None, "ec2", "CreateTags", Outcome.MADE): 100,
}
RUN: dict[str, Any] = {
    "contestant": "Farshore",
    "instances": 300,
    "over": True,
    "starting_calls": {"made": 300, "refused": 4, "failed": 0},
    "mutating_ec2_per_instance": 304 / 300,
    "starts": {
        "count": 300,
        "p50_seconds": 10.0,
        "p99_seconds": 43.25,
        "last_seconds": 44.0,
        "bound_seconds": 40.0,
        "times_bound": 1.1,
        "bucket_used": 300 / 320,
    },
    "jobs": {"states": {"COMPLETED": 300}, "reason": None},
    "snapshots": {"completed": 600},
    "calls_by_service": {"ec2": 2.5, "dynamodb reads": 1.25},
}


@pytest.mark.parametrize(
    ("calls", "seconds"), [(0, 0), (100, 0), (101, 0.2), (300, 40), (1000, 180), (10_000, 1980)]
)
def test_the_bucket_lets_a_hundred_through_and_then_five_a_second(calls: int, seconds: float) -> None:
    assert bound_seconds(calls) == seconds


@pytest.mark.parametrize(("percent", "value"), [(1, 10), (50, 20), (51, 30), (75, 30), (99, 40), (100, 40)])
def test_a_percentile_is_the_nearest_rank(percent: int, value: int) -> None:
    assert percentile([40, 10, 30, 20], percent) == value


@given(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= len(values) * percent


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_there_is_no_percentile_of_nothing_and_none_beyond_a_hundred(
    values: list[float], percent: int
) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, percent)


def test_starts_at_the_bound_use_every_token() -> None:
    at_once, paced = [0.0] * 100, [number / 5 for number in range(1, 201)]
    starts = sum_up(at_once + paced, needed=300)
    assert starts is not None
    assert (starts.last_seconds, starts.bound_seconds, starts.times_bound) == (40, 40, 1)
    assert starts.bucket_used == 1


def test_starts_without_a_bound_are_not_compared_with_it() -> None:
    starts = sum_up([0.0, 2.0], needed=2)
    assert starts is not None
    assert starts.times_bound is None
    assert sum_up([], needed=2) is None


def test_calls_are_told_apart_by_what_they_do_and_how_they_ended() -> None:
    ours = of_functions(CALLS)
    assert starting(ours) == {"made": 10, "refused": 3, "failed": 0}
    assert mutating_ec2(ours) == 13
    assert by_service(ours) == {"ec2": 20, "dynamodb writes": 5, "dynamodb reads": 1}
    assert by_operation(ended(ours, Outcome.REFUSED)) == {"ec2:CreateSnapshots": 3}


def test_a_start_is_a_call_that_ec2_took() -> None:
    record = CallRecord(lambda: NIGHT)
    for operation, status in (("CreateSnapshots", 200), ("CreateSnapshot", 503), ("DescribeSnapshots", 200)):
        target = Target("ec2", operation, "eu-central-1", "key", Signed.HEADER)
        record.answered(target, "farshore-AdvanceJobs", status)
    record.ended("farshore-AdvanceJobs", 0.5)
    record.ended("farshore-Tick", 0.1)
    assert record.starts == [NIGHT]
    assert record.invocations == [
        Invocation("AdvanceJobs", NIGHT, 0.5, calls=3),
        Invocation("Tick", NIGHT, 0.1, calls=0),
    ]


def test_the_planning_tick_is_the_first_one_from_the_rules_moment_on() -> None:
    early = Invocation("Tick", NIGHT - timedelta(minutes=5), 0.1, calls=1)
    planning = Invocation("Tick", NIGHT, 2.0, calls=300)
    later = Invocation("Tick", NIGHT + timedelta(minutes=5), 0.1, calls=1)
    worker = Invocation("AdvanceJobs", NIGHT, 0.1, calls=9)
    assert planning_tick([early, worker, planning, later], NIGHT) == planning
    assert planning_tick([early, worker], NIGHT) is None
    assert functions_of([early, planning, worker])["Tick"] == {
        "invocations": 2,
        "calls": 301,
        "longest_seconds": 2.0,
    }


def test_the_table_has_a_column_for_each_run_and_judges_the_goals() -> None:
    bare = {"contestant": "Another", "instances": 300, "not_measured": "it could not be installed"}
    lines = list(table([RUN, bare]))
    cells = {line[:50].strip(): line[50:].split("  ") for line in lines if not line.startswith("\n")}
    shown = {label: [cell.strip() for cell in row if cell.strip()] for label, row in cells.items()}
    assert shown[""] == ["Farshore", "Another"]
    assert shown["refused by the bucket"] == ["4", "-"]
    assert shown["mutating EC2 calls an instance (goal <= 1.02)"] == ["1.01 met", "-"]
    assert shown["last start over the bound (goal <= 1.05)"] == ["1.10 MISSED", "-"]
    assert shown["start p50 / p99, simulated s"] == ["10.0 / 43.2", "-"]
    assert shown["the bucket's tokens used until the last start"] == ["94%", "-"]
    assert shown["jobs COMPLETED"] == ["300 of 300", "-"]
    assert shown["AWS calls for each instance"] == ["3.75", "-"]
    assert shown["dynamodb reads"] == ["1.25", "-"]
    assert "  NOT MEASURED: it could not be installed" in lines


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        (
            {"jobs": {"states": {"COMPLETED": 2, "FAILED": 1}, "reason": "deadline"}},
            "ALL COMPLETED: 1 FAILED; deadline",
        ),
        ({"jobs": {"states": {}, "reason": None}}, "ALL COMPLETED: no job was opened; no reason given"),
        ({"over": False}, "OVER IN TIME: no reason given"),
        ({"jobs": None, "over": False, "reason": "exit 2: throttled"}, "OVER IN TIME: exit 2: throttled"),
    ],
)
def test_a_run_that_did_not_end_well_says_so(change: dict[str, Any], why: str | None) -> None:
    assert fault(RUN | change) == why


def test_sizes_are_read_in_rising_order() -> None:
    assert sizes_of("10000, 1000 1000") == [1000, 10_000]


@pytest.mark.parametrize("text", ["", "many", "0", "-5", "1e3"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="INSTANCES="):
        sizes_of(text)


def test_a_way_to_make_services_that_there_is_not_is_refused_by_name() -> None:
    assert service_of("one") == "one"
    with pytest.raises(ValueError, match="SERVICE='two' is not one of each, one"):
        service_of("two")


@pytest.mark.parametrize(("text", "line"), [("a\nb\n\n  \n", "b"), ("", "no word of why")])
def test_a_fault_is_told_by_its_last_words(text: str, line: str) -> None:
    assert last_line(text) == line
