"""Log lines and metrics are one JSON object a line, on standard output as it is now."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest

from chalicelib.observability import JOBS_OVER, count, logger


@pytest.fixture(autouse=True)
def _all_levels() -> Iterator[None]:
    """Let every line through: the process's logger may have been made for another test's stage."""
    level = logger().log_level
    logger().setLevel("INFO")
    yield
    logger().setLevel(level)


def written(tell: Any) -> dict[str, Any]:
    """Do something that writes one line, and read it."""
    with redirect_stdout(io.StringIO()) as out:
        tell()
    (line,) = out.getvalue().splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def test_a_log_line_carries_its_facts_apart_from_its_message() -> None:
    line = written(lambda: logger().info("advanced", extra={"job": "job-1"}))
    assert (line["level"], line["message"], line["service"], line["job"]) == (
        "INFO",
        "advanced",
        "farshore",
        "job-1",
    )


def test_the_logger_follows_standard_output() -> None:
    for _ in range(2):
        assert written(lambda: logger().warning("again"))["message"] == "again"


def test_an_exception_is_logged_with_its_trace() -> None:
    def fail() -> None:
        try:
            int("odd")
        except ValueError:
            logger().exception("failed")

    line = written(fail)
    assert line["exception_name"] == "ValueError"
    assert "test_observability" in line["exception"]


def test_a_count_is_a_metric_of_its_stage_split_by_its_own_dimensions_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FARSHORE_STAGE", "test")
    metric = written(lambda: count(JOBS_OVER, 2, kind="backup", state="FAILED", region="eu-west-1"))
    (told,) = metric["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == "Farshore"
    assert told["Metrics"] == [{"Name": "JobsOver", "Unit": "Count"}]
    assert set(told["Dimensions"][0]) == {"service", "stage", "kind", "state"}
    assert (metric["JobsOver"], metric["kind"], metric["stage"]) == ([2.0], "backup", "test")
    assert metric["region"] == "eu-west-1"


def test_a_count_without_a_dimension_of_its_metric_is_refused() -> None:
    with pytest.raises(KeyError, match="state"):
        count(JOBS_OVER, kind="backup")
