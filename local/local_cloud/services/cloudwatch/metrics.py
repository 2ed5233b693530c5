"""Metrics: values by name and dimensions, kept by the minute; alarms judge periods of five.

They come from the lines that functions print in the embedded metric format
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html),
from Lambda's own count of invocations (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html)
and from the queues (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html).
A metric with a dimension more or less is another metric. They are read with GetMetricData
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html), minute by minute.

moto: its CloudWatch takes no lines in the embedded format and counts nothing of other services.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, PassOn
from local_cloud.passing import lock_of, moto_backend

MINUTE = timedelta(minutes=1)
MINUTES = 5
PERIOD = MINUTES * MINUTE
KEPT = 180
"""How many minutes are kept: three hours."""
EMBEDDED = '"_aws"'
SET_BACK_AFTER = 3
"""A message received so often is no longer the oldest of its queue."""


@dataclass(frozen=True, slots=True)
class MetricName:
    """What tells a metric apart."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


@dataclass(slots=True)
class Statistics:
    """The values of one period."""

    total: float = 0
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        """Count one value."""
        self.total += value
        self.maximum = max(self.maximum, value)

    def join(self, other: "Statistics") -> None:
        """Count the values of another period, too."""
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)


class Metrics:
    """The metrics of an account in its home region."""

    service = "cloudwatch"

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._values: dict[MetricName, dict[int, Statistics]] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"GetMetricData": self._get}

    def clear(self) -> None:
        """Forget every value."""
        self._values.clear()

    def put(self, metric: MetricName, value: float) -> None:
        """Count a value now."""
        minutes = self._values.setdefault(metric, {})
        minute = minute_of(self._now())
        minutes.setdefault(minute, Statistics()).add(value)
        for old in [each for each in minutes if each <= minute - KEPT]:
            del minutes[old]

    def statistics(self, metric: MetricName, periods: int) -> list[Statistics | None]:
        """Return what there is of a metric in each of the last periods, the present one last."""
        if metric.namespace == "AWS/SQS" and (value := of_queue(metric, self._now())) is not None:
            self.put(metric, value)
        found: list[Statistics | None] = [None] * periods
        first = period_of(self._now()) - periods + 1
        for minute, values in self._values.get(metric, {}).items():
            place = minute // MINUTES - first
            if 0 <= place < periods:
                whole = found[place] = found[place] or Statistics()
                whole.join(values)
        return found

    def read_output(self, text: str) -> bool:
        """Count what a function prints and return True, if it is a line in the embedded metric format."""
        if EMBEDDED not in text:
            return False
        for metric, value in embedded(json.loads(text)):
            self.put(metric, value)
        return True

    def invoked(self, function: str, _: float) -> None:
        """Count an invocation, and that it was let through."""
        self.put(of_function(function, "Invocations"), 1)
        self.put(of_function(function, "Throttles"), 0)

    def failed(self, function: str) -> None:
        """Count an invocation that failed."""
        self.put(of_function(function, "Errors"), 1)

    def _get(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        begin, end = (minute_of(_time_of(call.params[name])) for name in ("StartTime", "EndTime"))
        results = []
        for query in call.params["MetricDataQueries"]:
            found = sorted(self._by_minute(query["MetricStat"]).items(), reverse=True)
            shown = [(at, value) for at, value in found if begin <= at <= end]
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query["Id"],
                    "Timestamps": [
                        datetime.fromtimestamp(at * MINUTE.total_seconds(), UTC) for at, _ in shown
                    ],
                    "Values": [value for _, value in shown],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results, "Messages": []}

    def _by_minute(self, wanted: Mapping[str, Any]) -> Mapping[int, float]:
        given = wanted["Metric"]
        dimensions = frozenset((each["Name"], each["Value"]) for each in given["Dimensions"])
        metric = MetricName(given["Namespace"], given["MetricName"], dimensions)
        if wanted["Period"] != MINUTE.total_seconds():
            raise AwsError("ValidationError", f"The local cloud does not measure {wanted}.")
        if metric.namespace == "AWS/SQS":
            value = of_queue(metric, self._now())
            return {} if value is None else {minute_of(self._now()): value}
        return {minute: each.total for minute, each in self._values.get(metric, {}).items()}


def minute_of(when: datetime) -> int:
    """Return the number of the minute that a time is in."""
    return int(when.timestamp() // MINUTE.total_seconds())


def _time_of(given: Any) -> datetime:
    moment = given if isinstance(given, datetime) else datetime.fromtimestamp(float(given), UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def period_of(when: datetime) -> int:
    """Return the number of the period that a time is in."""
    return int(when.timestamp() // PERIOD.total_seconds())


def of_function(function: str, name: str) -> MetricName:
    """Return one of Lambda's metrics of a function."""
    return MetricName("AWS/Lambda", name, frozenset({("FunctionName", function)}))


def embedded(line: Mapping[str, Any]) -> Iterator[tuple[MetricName, float]]:
    """Yield the metrics of a line in the embedded format, once for each of its sets of dimensions."""
    for told in line["_aws"]["CloudWatchMetrics"]:
        for names in told["Dimensions"]:
            dimensions = frozenset((name, str(line[name])) for name in names)
            for metric in told["Metrics"]:
                values = line[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    yield MetricName(told["Namespace"], metric["Name"], dimensions), float(value)


def of_queue(metric: MetricName, now: datetime) -> float | None:
    """Return one of SQS's metrics of a queue as it is now; None where there is no queue or no message."""
    name = dict(metric.dimensions)["QueueName"]
    moment = now.timestamp() * 1000
    with lock_of("sqs"):
        regions = moto_backend("sqs")[ACCOUNT].values()
        queue = next((region.queues[name] for region in regions if name in region.queues), None)
        messages = list(queue._messages) if queue else []
    match metric.name:
        case "ApproximateNumberOfMessagesVisible":
            return float(sum(bool(max(each.visible_at, each.delayed_until) <= moment) for each in messages))
        case "ApproximateAgeOfOldestMessage":
            sent = [float(each.sent_timestamp) for each in messages if in_order(each, moment)]
            return float(moment - min(sent)) / 1000 if sent else None
    raise ValueError(f"the local cloud does not measure {metric.name} of queues")


def in_order(message: Any, moment: float) -> bool:
    """Return whether a message counts for the age of the oldest: it is sent, and not received too often."""
    received: int = message.approximate_receive_count
    return bool(message.delayed_until <= moment) and received < SET_BACK_AFTER


def utc(period: int) -> datetime:
    """Return when a period begins."""
    return datetime.fromtimestamp(period * PERIOD.total_seconds(), UTC)
