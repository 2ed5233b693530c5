"""EventBridge: the rules that lead to a target, and events of our own.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors
from chalicelib.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


@dataclass(frozen=True, slots=True)
class RuleState:
    """A rule of the default bus, and whether it is enabled."""

    name: str
    enabled: bool


class EventBus:
    """The default event bus of one region."""

    def __init__(self, client: "EventBridgeClient") -> None:
        self._client = client
        self._region = client.meta.region_name

    def rules_to(self, target_arn: str) -> tuple[RuleState, ...]:
        """Return the rules that have a function or queue as a target."""
        with translated_errors("ListRuleNamesByTarget", target_arn, self._region):
            pages = self._client.get_paginator("list_rule_names_by_target").paginate(TargetArn=target_arn)
            names = [name for page in pages for name in page["RuleNames"]]
        return tuple(map(self._rule, names))

    def put(self, source: str, kind: str, detail: Mapping[str, str]) -> None:
        """Put an event on the bus.

        Raises:
            Unavailable: the bus did not take it.
        """
        with translated_errors("PutEvents", kind, self._region):
            answer = self._client.put_events(
                Entries=[{"Source": source, "DetailType": kind, "Detail": json.dumps(detail)}]
            )
        for refused in (each for each in answer["Entries"] if "ErrorCode" in each):
            raise Unavailable(
                refused.get("ErrorMessage", ""),
                operation="PutEvents",
                resource=kind,
                region=self._region,
                code=refused["ErrorCode"],
            )

    def _rule(self, name: str) -> RuleState:
        with translated_errors("DescribeRule", name, self._region):
            return RuleState(name, self._client.describe_rule(Name=name)["State"] != "DISABLED")
