"""Alarms: judged at the end of every period of five minutes, told to a topic when their state changes.

An alarm looks at its last `EvaluationPeriods` periods and is on when `DatapointsToAlarm` of them breach; a
period without data is judged by `TreatMissingData`. Actions are taken when the state changes, and only then:
a new alarm that finds everything well tells that, too.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html

CloudWatch looks more often than once a period, and further back than the last periods where data is missing.

moto: keeps alarms and never judges one.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from local_cloud.call import ACCOUNT
from local_cloud.cloudformation.intrinsics import TemplateError
from local_cloud.control.clock import Clock
from local_cloud.control.timeline import Timeline
from local_cloud.services.cloudwatch.metrics import PERIOD, MetricName, Metrics, Statistics, period_of, utc
from local_cloud.services.sns.topics import Notification, Topics

JUST_BEFORE_THE_END = timedelta(seconds=1)
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
STATISTICS: Mapping[str, Callable[[Statistics], float]] = {
    "Sum": lambda values: values.total,
    "Maximum": lambda values: values.maximum,
}


class AlarmState(StrEnum):
    """The state of an alarm."""

    OK = "OK"
    ALARM = "ALARM"
    UNKNOWN = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class Rule:
    """What turns the values of a metric into a state."""

    metric: MetricName
    statistic: str
    periods: int
    datapoints: int
    threshold: float
    comparison: str
    missing: str = "missing"

    def judge(self, values: Sequence[float | None], state: AlarmState) -> AlarmState:
        """Return the state that follows from the values of the last periods and the state before."""
        known = [COMPARISONS[self.comparison](value, self.threshold) for value in values if value is not None]
        missing = len(values) - len(known)
        if not known and self.missing in ("missing", "ignore"):
            return AlarmState.UNKNOWN if self.missing == "missing" else state
        breaching = sum(known) + (missing if self.missing == "breaching" else 0)
        return AlarmState.ALARM if breaching >= self.datapoints else AlarmState.OK


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm and its state."""

    name: str
    region: str
    rule: Rule
    says: str = ""
    actions: tuple[str, ...] = ()
    ok_actions: tuple[str, ...] = ()
    state: AlarmState = AlarmState.UNKNOWN

    @property
    def arn(self) -> str:
        """Return the alarm's ARN."""
        return f"arn:aws:cloudwatch:{self.region}:{ACCOUNT}:alarm:{self.name}"

    @property
    def told_to(self) -> tuple[str, ...]:
        """Return the topics that its present state is told to."""
        match self.state:
            case AlarmState.ALARM:
                return self.actions
            case AlarmState.OK:
                return self.ok_actions
        return ()


class Alarms:
    """The alarms of an account, by name."""

    def __init__(self, clock: Clock, timeline: Timeline, metrics: Metrics, topics: Topics) -> None:
        self._clock = clock
        self._timeline = timeline
        self._metrics = metrics
        self._topics = topics
        self._alarms: dict[str, Alarm] = {}

    def add(self, alarm: Alarm) -> None:
        """Judge an alarm from now on."""
        if not self._alarms:
            self._plan()
        self._alarms[alarm.name] = alarm

    def clear(self) -> None:
        """Forget every alarm."""
        self._alarms.clear()

    def states(self) -> dict[str, AlarmState]:
        """Return the state of each alarm, by name."""
        return {name: alarm.state for name, alarm in self._alarms.items()}

    def _plan(self) -> None:
        """Plan the next look, just before the present period ends."""
        end = utc(period_of(self._clock.now() + JUST_BEFORE_THE_END) + 1) - JUST_BEFORE_THE_END
        self._timeline.at(end, self._look, "alarms")

    def _look(self) -> None:
        if not self._alarms:
            return
        for alarm in list(self._alarms.values()):
            rule = alarm.rule
            found = self._metrics.statistics(rule.metric, rule.periods)
            values = [STATISTICS[rule.statistic](each) if each else None for each in found]
            state = rule.judge(values, alarm.state)
            if state is not alarm.state:
                self._alarms[alarm.name] = replace(alarm, state=state)
                self._tell(self._alarms[alarm.name], alarm.state)
        self._plan()

    def _tell(self, alarm: Alarm, before: AlarmState) -> None:
        """Publish a change of state, as the alarm's service."""
        message = {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.says,
            "AlarmArn": alarm.arn,
            "NewStateValue": alarm.state,
            "OldStateValue": before,
            "StateChangeTime": self._clock.now().isoformat(),
        }
        subject = f'{alarm.state}: "{alarm.name}" in {alarm.region}'
        for topic in alarm.told_to:
            self._topics.publish_for(
                "cloudwatch.amazonaws.com", alarm.arn, Notification(topic, subject, json.dumps(message))
            )


def rule_of(properties: Mapping[str, Any]) -> Rule:
    """Read the rule of an alarm from its properties in a template.

    Raises:
        TemplateError: it needs something that is not done here.
    """
    if timedelta(seconds=int(properties["Period"])) != PERIOD:
        raise TemplateError(f"the local cloud judges alarms by periods of {PERIOD} alone")
    if properties["Statistic"] not in STATISTICS:
        raise TemplateError(f"the local cloud judges alarms by one of {', '.join(STATISTICS)}")
    periods = int(properties["EvaluationPeriods"])
    return Rule(
        metric=metric_name(properties),
        statistic=properties["Statistic"],
        periods=periods,
        datapoints=int(properties.get("DatapointsToAlarm", periods)),
        threshold=float(properties["Threshold"]),
        comparison=properties["ComparisonOperator"],
        missing=properties.get("TreatMissingData", "missing"),
    )


def metric_name(metric: Mapping[str, Any]) -> MetricName:
    """Return what tells the metric of an alarm apart."""
    dimensions: Iterable[Mapping[str, str]] = metric["Dimensions"]
    return MetricName(
        metric["Namespace"],
        metric["MetricName"],
        frozenset((each["Name"], each["Value"]) for each in dimensions),
    )
