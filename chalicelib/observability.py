"""Structured logs and metrics, through Powertools.

There is one logger per process, with service `farshore`, level `POWERTOOLS_LOG_LEVEL` and one JSON object per
line. A metric is written at once, as one line in CloudWatch's embedded metric format, so that it is not lost
if the worker is killed later.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import sys
from functools import cache
from typing import IO, TYPE_CHECKING, Any, cast

from chalicelib.masking import mask

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

SERVICE = "farshore"
NAMESPACE = "Farshore"


class _Stdout:
    """Standard output as of the time of writing, not of the time when the logger was made."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@cache
def logger() -> "Logger":
    """Return the process's logger; put facts into `extra` or `append_keys`, not into the message."""
    from aws_lambda_powertools import Logger  # late: most events log nothing

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


def count(name: str, value: float = 1, **dimensions: str) -> None:
    """Count an event. Dimensions split the metric, so they should have few different values."""
    from aws_lambda_powertools import single_metric
    from aws_lambda_powertools.metrics import MetricUnit

    with single_metric(
        name=name,
        unit=MetricUnit.Count,
        value=value,
        namespace=NAMESPACE,
        default_dimensions=dimensions | {"service": SERVICE},
    ):
        pass
