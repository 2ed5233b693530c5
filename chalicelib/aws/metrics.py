"""CloudWatch: the newest value of metrics that AWS's services count by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.errors import translated_errors


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a service, of the one thing that `dimension` and `value` name."""

    namespace: str
    name: str
    dimension: str
    value: str
    statistic: str


@dataclass(frozen=True, slots=True)
class Datapoint:
    """A value, and the beginning of the minute it is of."""

    at: datetime
    value: float


class Metrics:
    """CloudWatch of the home region."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def newest(self, metrics: Mapping[str, Metric], now: datetime, span: timedelta) -> dict[str, Datapoint]:
        """Return the newest datapoint of each metric within the last `span`, by its key; a key is a word of
        letters. A metric that has none is left out, and so are datapoints of zero.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
        """
        queries = [
            {
                "Id": key,
                "MetricStat": {
                    "Metric": {
                        "Namespace": each.namespace,
                        "MetricName": each.name,
                        "Dimensions": [{"Name": each.dimension, "Value": each.value}],
                    },
                    "Period": 60,
                    "Stat": each.statistic,
                },
            }
            for key, each in metrics.items()
        ]
        found: dict[str, Datapoint] = {}
        with translated_errors("GetMetricData", None, self._client.meta.region_name):
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries, StartTime=now - span, EndTime=now, ScanBy="TimestampDescending"
            )
            for page in pages:
                for each in page["MetricDataResults"]:
                    for at, value in zip(each["Timestamps"], each["Values"], strict=True):
                        if value:
                            found.setdefault(each["Id"], Datapoint(at, value))
        return found
