"""A command and its invocations: their states, and how both look in SSM's answers.

Pure: no clock, no process. The states and what they mean:
https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
Invariant: a state that is final never changes again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from local_cloud.services.ssm.documents import Step

STDOUT_CHARACTERS = 24_000
STDERR_CHARACTERS = 8_000
OUTPUT_CHARACTERS = 2_500
CUT = "--output truncated--"
"""What the agent ends cut output with (aws/amazon-ssm-agent, .../executer/iohandler/iohandler.go)."""


class State(StrEnum):
    """A detailed status (StatusDetails)."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    DELAYED = "Delayed"
    CANCELLING = "Cancelling"
    SUCCESS = "Success"
    FAILED = "Failed"
    EXECUTION_TIMED_OUT = "ExecutionTimedOut"
    DELIVERY_TIMED_OUT = "DeliveryTimedOut"
    CANCELLED = "Cancelled"
    UNDELIVERABLE = "Undeliverable"
    INCOMPLETE = "Incomplete"
    NO_INSTANCES_IN_TAG = "NoInstancesInTag"

    @property
    def status(self) -> str:
        """The coarse status: one of the API's CommandStatus and CommandInvocationStatus."""
        return _COARSE.get(self, self.value)

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self not in (State.PENDING, State.IN_PROGRESS, State.DELAYED, State.CANCELLING)


_COARSE = {
    State.EXECUTION_TIMED_OUT: "TimedOut",
    State.DELIVERY_TIMED_OUT: "TimedOut",
    State.UNDELIVERABLE: "Failed",
    State.INCOMPLETE: "Failed",
    State.NO_INSTANCES_IN_TAG: "Failed",
}


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended; output is cut as the agent cuts it."""

    name: str
    state: State
    exit_code: int
    started_at: datetime
    ended_at: datetime
    stdout: str
    stderr: str


@dataclass(slots=True)
class Invocation:
    """One command on one instance."""

    instance_id: str
    state: State = State.PENDING
    started_at: datetime | None = None
    results: tuple[StepResult, ...] = ()


@dataclass(slots=True)
class Command:
    """A command as it was sent, and its invocations."""

    command_id: str
    region: str
    request: Mapping[str, Any]
    steps: tuple[Step, ...]
    requested_at: datetime
    invocations: Mapping[str, Invocation]
    state: State = field(default=State.PENDING)

    @property
    def document(self) -> str:
        """The document's name."""
        return str(self.request["DocumentName"])

    @property
    def deliver_until(self) -> datetime:
        """After this the command is no longer started (SendCommand, TimeoutSeconds)."""
        return self.requested_at + timedelta(seconds=self.request.get("TimeoutSeconds", 3600))

    @property
    def expires_at(self) -> datetime:
        """When the total timeout (TimeoutSeconds + executionTimeout) is over: DeliveryTimedOut."""
        return self.deliver_until + sum((step.timeout for step in self.steps), timedelta())


def cut(text: str, limit: int) -> str:
    """Return `text`, shortened to `limit` characters as the agent does it, its mark included."""
    return text if len(text) < limit else text[: limit - len(CUT)] + CUT


def overall(states: Sequence[State]) -> State:
    """Return the state of a command from those of its invocations (MaxErrors 0, the default)."""
    if not states:
        return State.NO_INSTANCES_IN_TAG
    if not all(state.final for state in states):
        if State.CANCELLING in states:
            return State.CANCELLING
        waiting = all(state in (State.PENDING, State.DELAYED) for state in states)
        return State.PENDING if waiting else State.IN_PROGRESS
    for worst in (State.FAILED, State.EXECUTION_TIMED_OUT, State.DELIVERY_TIMED_OUT, State.CANCELLED):
        if worst in states:
            return worst
    return State.SUCCESS if set(states) == {State.SUCCESS} else State.INCOMPLETE


def show_command(command: Command) -> dict[str, Any]:
    """Return the API's Command."""
    states = [invocation.state for invocation in command.invocations.values()]
    return {
        "CommandId": command.command_id,
        "DocumentName": command.document,
        "DocumentVersion": command.request.get("DocumentVersion", "$DEFAULT"),
        "Comment": command.request.get("Comment", ""),
        "ExpiresAfter": command.expires_at,
        "Parameters": command.request.get("Parameters", {}),
        "InstanceIds": command.request.get("InstanceIds", []),
        "Targets": command.request.get("Targets", []),
        "RequestedDateTime": command.requested_at,
        "Status": command.state.status,
        "StatusDetails": command.state.value,
        "MaxConcurrency": command.request.get("MaxConcurrency", "50"),
        "MaxErrors": command.request.get("MaxErrors", "0"),
        "TargetCount": len(states),
        "CompletedCount": sum(state.final for state in states),
        "ErrorCount": sum(state in (State.FAILED, State.EXECUTION_TIMED_OUT) for state in states),
        "DeliveryTimedOutCount": states.count(State.DELIVERY_TIMED_OUT),
        "TimeoutSeconds": command.request.get("TimeoutSeconds", 3600),
    }


def show_invocation(command: Command, invocation: Invocation, *, details: bool) -> dict[str, Any]:
    """Return the API's CommandInvocation, with `details` its plugins."""
    return {
        "CommandId": command.command_id,
        "InstanceId": invocation.instance_id,
        "InstanceName": "",
        "Comment": command.request.get("Comment", ""),
        "DocumentName": command.document,
        "DocumentVersion": command.request.get("DocumentVersion", "$DEFAULT"),
        "RequestedDateTime": command.requested_at,
        "Status": invocation.state.status,
        "StatusDetails": invocation.state.value,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": [_show_plugin(result) for result in invocation.results] if details else [],
    }


def _show_plugin(result: StepResult) -> dict[str, Any]:
    return {
        "Name": result.name,
        "Status": result.state.status,
        "StatusDetails": result.state.value,
        "ResponseCode": result.exit_code,
        "ResponseStartDateTime": result.started_at,
        "ResponseFinishDateTime": result.ended_at,
        "Output": _merged(result.stdout, result.stderr),
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
    }


def _merged(stdout: str, stderr: str) -> str:
    """Return both outputs in one text of at most 2,500 characters."""
    text = f"{stdout}\n----------ERROR-------\n{stderr}" if stderr else stdout
    return text if len(text) <= OUTPUT_CHARACTERS else text[: OUTPUT_CHARACTERS - len(CUT)] + CUT


def show_step(command: Command, invocation: Invocation, step: Step) -> dict[str, Any]:
    """Return what GetCommandInvocation shows of one step; output appears once the step has ended."""
    result = next((result for result in invocation.results if result.name == step.name), None)
    state = invocation.state if result is None else result.state
    started_at = result.started_at if result else invocation.started_at
    return {
        "CommandId": command.command_id,
        "InstanceId": invocation.instance_id,
        "Comment": command.request.get("Comment", ""),
        "DocumentName": command.document,
        "DocumentVersion": command.request.get("DocumentVersion", "$DEFAULT"),
        "PluginName": step.name,
        "ResponseCode": result.exit_code if result else -1,
        "ExecutionStartDateTime": iso(started_at) if started_at else "",
        "ExecutionElapsedTime": f"PT{(result.ended_at - result.started_at).total_seconds():.3f}S"
        if result
        else "",
        "ExecutionEndDateTime": iso(result.ended_at) if result else "",
        "Status": state.status,
        "StatusDetails": state.value,
        "StandardOutputContent": result.stdout if result else "",
        "StandardOutputUrl": "",
        "StandardErrorContent": result.stderr if result else "",
        "StandardErrorUrl": "",
    }


def iso(when: datetime) -> str:
    """Return `when` as SSM writes times in strings: UTC, milliseconds, `Z`."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"
