"""Which commands and invocations ListCommands and ListCommandInvocations show.

Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CommandFilter.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from local_cloud.call import AwsError
from local_cloud.services.ssm.commands import Command


def passes(wishes: Sequence[Mapping[str, str]], command: Command, status: str) -> bool:
    """Return whether a command, or one of its invocations, of this (coarse) status passes every filter."""
    return all(_passes(wish["key"], wish["value"], command, status) for wish in wishes)


def _passes(key: str, value: str, command: Command, status: str) -> bool:
    match key:
        case "InvokedAfter":
            return command.requested_at >= _time(value)
        case "InvokedBefore":
            return command.requested_at < _time(value)
        case "Status":
            return status == value
        case "DocumentName":
            return command.document == value
        case "ExecutionStage":
            return command.state.final == (value == "Complete")
    raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")


def _time(value: str) -> datetime:
    try:
        when = datetime.fromisoformat(value)
    except ValueError as exc:
        why = f"{value} is not a time in ISO 8601, like 2024-07-07T00:00:00Z."
        raise AwsError("ValidationException", why) from exc
    return when if when.tzinfo else when.replace(tzinfo=UTC)
