"""CloudWatch: what Lambda and SQS count by themselves, minute by minute, as GetMetricData shows it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html,
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html,
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html

moto: keeps metrics that are put, and counts nothing of other services.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, PassOn
from local_cloud.control.clock import Clock
from local_cloud.passing import lock_of, moto_backend

KEPT = timedelta(hours=3)
MINUTE = timedelta(minutes=1)


class MetricData:
    """The stand-in for CloudWatch's metrics of functions and queues."""

    service = "cloudwatch"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], Counter[datetime]] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"GetMetricData": self._get}

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()

    def invoked(self, function: str, _: float) -> None:
        """Count an invocation."""
        self._count(function, "Invocations")

    def failed(self, function: str) -> None:
        """Count an invocation that failed."""
        self._count(function, "Errors")

    def _count(self, function: str, name: str) -> None:
        counts, minute = self._counts.setdefault((function, name), Counter()), _minute(self._clock.now())
        counts[minute] += 1
        for old in [each for each in counts if each < minute - KEPT]:
            del counts[old]

    def _get(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        begin, end = (_utc(call.params[name]) for name in ("StartTime", "EndTime"))
        results = []
        for query in call.params["MetricDataQueries"]:
            found = sorted(self._values(query, call.region).items(), reverse=True)
            shown = [(at, value) for at, value in found if begin <= at <= end]
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query["Id"],
                    "Timestamps": [at for at, _ in shown],
                    "Values": [float(value) for _, value in shown],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results, "Messages": []}

    def _values(self, query: Mapping[str, Any], region: str) -> Mapping[datetime, float]:
        asked = query["MetricStat"]
        metric, names = asked["Metric"], {"Lambda": "FunctionName", "SQS": "QueueName"}
        dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        kind = metric["Namespace"].removeprefix("AWS/")
        if asked["Period"] != MINUTE.total_seconds() or kind not in names:
            raise AwsError("ValidationError", f"The local cloud does not measure {asked}.")
        thing = dimensions[names[kind]]
        if kind == "Lambda":
            return self._counts.get((thing, metric["MetricName"]), {})
        return self._age(thing, region)

    def _age(self, queue: str, region: str) -> Mapping[datetime, float]:
        """Return how old the oldest message of a queue is; nothing of a queue that is empty."""
        now = self._clock.now()
        moment = now.timestamp() * 1000
        with lock_of("sqs"):
            found = moto_backend("sqs")[ACCOUNT][region].queues.get(queue)
            messages = list(found._messages) if found else []
        sent = [each.sent_timestamp for each in messages if each.delayed_until <= moment]
        return {_minute(now): (moment - min(sent)) / 1000} if sent else {}


def _minute(when: datetime) -> datetime:
    return when.replace(second=0, microsecond=0)


def _utc(when: Any) -> datetime:
    moment = when if isinstance(when, datetime) else datetime.fromtimestamp(float(when), UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
