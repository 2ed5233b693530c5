"""Structured logs and metrics, through Powertools.

There is one logger per process, with service `farshore`, level `POWERTOOLS_LOG_LEVEL` and one JSON object per
line. A metric is written at once, as one line in CloudWatch's embedded metric format, so that it is not lost
if the worker is killed later.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, cast

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from chalicelib.masking import mask

SERVICE = "farshore"
NAMESPACE = "Farshore"


class _Stdout:
    """Standard output as of the time of writing, not of the time when the logger was made."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@cache
def logger() -> Logger:
    """Return the process's logger; put facts into `extra` or `append_keys`, not into the message."""
    return Logger(
        service=SERVICE,
        stream=cast("IO[str]", _Stdout()),
        utc=True,
        use_rfc3339=True,
        json_serializer=lambda line: json.dumps(
            _masked(line), default=str, ensure_ascii=False, separators=(",", ":")
        ),
    )


def _masked(value: Any) -> Any:
    """Return a value of a log line with the secrets in its texts masked."""
    match value:
        case str():
            return mask(value)
        case dict():
            return {name: _masked(each) for name, each in value.items()}
        case list() | tuple():
            return [_masked(each) for each in value]
        case BaseException():
            return mask(str(value))
    return value


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the namespace `Farshore`: its name, what it counts, and the dimensions that split it.

    Each combination of dimensions is paid for as a metric of its own and is what an alarm names, so they have
    few values. What else is known of an event stands beside the value in its log line.
    """

    name: str
    counts: str
    dimensions: tuple[str, ...] = ()


JOBS_OVER = Metric("JobsOver", "jobs that ended", ("kind", "state"))
MISSED_RUN = Metric("MissedRun", "due runs for which no backup could be begun")
LATE_RUN = Metric("LateRun", "runs that began more than ten minutes late")
PLAN_SELECTS_NOTHING = Metric("PlanSelectsNothing", "due runs of plans that select no instance")
NOT_SERVED = Metric("NotServed", "plans and parts of a tick that failed")
RPO_MISSED = Metric("RpoMissed", "services beyond their RPO, told by every tick")
OVERDUE_JOBS = Metric("OverdueJobs", "jobs that should have moved and were woken by a tick")
THROTTLED = Metric("Throttled", "calls that EC2 throttled")
STARVED = Metric("Starved", "tries of a job that has waited for a copy slot or a quota for more than an hour")
COPY_NOT_OPENED = Metric("CopyNotOpened", "copies that could not be opened and are tried again")
SLOTS_NOT_HEALED = Metric("SlotsNotHealed", "regions whose copy slots could not be compared with EC2's")
COPY_SLOTS_HEALED = Metric("CopySlotsHealed", "copy slots freed of jobs that had ended")
EVENTS_NOT_LOOKED_UP = Metric("EventsNotLookedUp", "completion events whose jobs could not be looked up")
MESSAGE_FAILED = Metric("MessageFailed", "messages of a queue that failed and come again")
REQUEST_FAILED = Metric("RequestFailed", "API requests that failed by an unexpected error")
METRICS = (
    JOBS_OVER,
    MISSED_RUN,
    LATE_RUN,
    PLAN_SELECTS_NOTHING,
    NOT_SERVED,
    RPO_MISSED,
    OVERDUE_JOBS,
    THROTTLED,
    STARVED,
    COPY_NOT_OPENED,
    SLOTS_NOT_HEALED,
    COPY_SLOTS_HEALED,
    EVENTS_NOT_LOOKED_UP,
    MESSAGE_FAILED,
    REQUEST_FAILED,
)


def count(metric: Metric, value: float = 1, **facts: str) -> None:
    """Count an event of this stage. `facts` has the metric's dimensions, and what else its log line tells.

    Raises:
        KeyError: a dimension of the metric is missing.
    """
    split = {name: facts.pop(name) for name in metric.dimensions}
    with single_metric(
        name=metric.name,
        unit=MetricUnit.Count,
        value=value,
        namespace=NAMESPACE,
        default_dimensions={
            "service": SERVICE,
            "stage": os.environ.get("FARSHORE_STAGE", "unknown"),
            **split,
        },
    ) as written:
        for name, fact in facts.items():
            written.add_metadata(name, fact)
