"""What Lambda shows of the account and of what feeds functions."""

from dataclasses import dataclass
from typing import Any

from chalicelib.aws.errors import translated_errors


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many functions of the account may run at once in the region, and how many of these no function
    has reserved for itself.

    https://docs.aws.amazon.com/lambda/latest/api/API_GetAccountSettings.html
    """

    account: int
    unreserved: int


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """What feeds a function from a queue; without `most_at_once` nothing but the account limits it."""

    function: str
    enabled: bool
    state: str
    most_at_once: int | None


class LambdaAccount:
    """Lambda of the home region."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def concurrency(self) -> Concurrency:
        """Return the account's concurrency."""
        with translated_errors("GetAccountSettings", None, self._client.meta.region_name):
            limit = self._client.get_account_settings()["AccountLimit"]
        return Concurrency(limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"])

    def source_mappings(self, queue_arn: str) -> tuple[SourceMapping, ...]:
        """Return what feeds functions from a queue."""
        with translated_errors("ListEventSourceMappings", queue_arn, self._client.meta.region_name):
            pages = self._client.get_paginator("list_event_source_mappings").paginate(
                EventSourceArn=queue_arn
            )
            return tuple(
                SourceMapping(
                    function=each["FunctionArn"].rpartition(":")[2],
                    enabled=each["State"] in ("Creating", "Enabling", "Enabled", "Updating"),
                    state=each["State"],
                    most_at_once=each.get("ScalingConfig", {}).get("MaximumConcurrency"),
                )
                for page in pages
                for each in page["EventSourceMappings"]
            )
