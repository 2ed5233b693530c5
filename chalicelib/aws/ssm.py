"""Systems Manager as Farshore needs it: which agents are reachable, and shell scripts run through them.

Invariant: `send` sends at most one command, and only to one instance. AWS has no idempotency token for it,
so a caller that crashed finds its command by its `comment`; the runner on the instance refuses a second run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib.aws.batches import in_batches
from chalicelib.aws.errors import translated_errors
from chalicelib.errors import NotFound
from chalicelib.masking import mask

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DOCUMENT = "AWS-RunShellScript"
# How long SSM tries to deliver a command to an agent that does not listen; 30 s at least.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html
DELIVERY_TIMEOUT = timedelta(minutes=10)
COMMENT_LENGTH = 100
# The agent ignores a shorter execution timeout and lets the script run for an hour
# (aws/amazon-ssm-agent, pluginutil.ValidateExecutionTimeout).
SHORTEST_TIMEOUT_SECONDS = 5
PAGE = 50
# https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html
UNFINISHED = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command on one instance; `stdout` has at most its first 24,000 characters, `stderr` 8,000.

    `exit_code` is None until the script has ended by itself; `details` distinguishes what `status` combines
    (`TimedOut`: `DeliveryTimedOut` or `Execution Timed Out`, `Failed`: also `Undeliverable`, `Terminated`
    ...).
    """

    status: str
    details: str
    exit_code: int | None
    stdout: str
    stderr: str

    def __post_init__(self) -> None:
        """Mask secrets in the output from the instance."""
        object.__setattr__(self, "stdout", mask(self.stdout))
        object.__setattr__(self, "stderr", mask(self.stderr))

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status not in UNFINISHED


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered SSM agent: whether it is reachable now, and when it last was."""

    online: bool
    last_ping: datetime | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was sent, and when."""

    id: str
    sent_at: datetime


class Ssm:
    """SSM of the home region. `unretried` is a client with `retries=False`."""

    def __init__(self, client: "SSMClient", *, unretried: "SSMClient") -> None:
        self._client = client
        self._unretried = unretried

    @property
    def _region(self) -> str:
        return self._client.meta.region_name

    def agents(self, instance_ids: Iterable[str]) -> dict[str, Agent]:
        """Return the agents of these instances that have ever registered, by instance."""
        found = dict[str, Agent]()
        with translated_errors("DescribeInstanceInformation", None, self._region):
            paginator = self._client.get_paginator("describe_instance_information")
            for batch in in_batches(instance_ids, PAGE):
                for page in paginator.paginate(
                    Filters=[{"Key": "InstanceIds", "Values": batch}], PaginationConfig={"PageSize": PAGE}
                ):
                    for each in page["InstanceInformationList"]:
                        online = each["PingStatus"] == "Online"
                        found[each["InstanceId"]] = Agent(online, each.get("LastPingDateTime"))
        return found

    def send(
        self,
        instance_id: str,
        script: str,
        *,
        comment: str,
        timeout: timedelta,
        working_directory: str | None,
    ) -> str:
        """Run a shell script on an instance; return the command's id.

        `timeout` (5 s to 48 h; a shorter one counts as 5 s) is the script's own, counted from its start.
        `working_directory` None is the agent's. Not idempotent: call it only with the intent recorded.

        Raises:
            Conflict: the instance has no agent that could take it.
        """
        if not 0 < len(comment) <= COMMENT_LENGTH:
            raise ValueError(f"a command's comment has 1 to {COMMENT_LENGTH} characters: {comment!r}")
        seconds = max(int(timeout.total_seconds()), SHORTEST_TIMEOUT_SECONDS)
        parameters = {"commands": [script], "executionTimeout": [str(seconds)]}
        if working_directory is not None:
            parameters["workingDirectory"] = [working_directory]
        with translated_errors("SendCommand", instance_id, self._region):
            answer = self._unretried.send_command(
                DocumentName=DOCUMENT,
                InstanceIds=[instance_id],
                Parameters=parameters,
                TimeoutSeconds=int(DELIVERY_TIMEOUT.total_seconds()),
                Comment=comment,
            )
        return answer["Command"]["CommandId"]

    def invocation(self, command_id: str, instance_id: str) -> Invocation | None:
        """Return the state of a command on an instance; None when SSM does not know it (yet)."""
        try:
            with translated_errors("GetCommandInvocation", f"{command_id} on {instance_id}", self._region):
                answer = self._client.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        except NotFound:
            return None
        code = answer.get("ResponseCode", -1)  # -1: not started, or not ended by itself
        return Invocation(
            status=answer["Status"],
            details=answer.get("StatusDetails", ""),
            exit_code=None if code < 0 else code,
            stdout=answer.get("StandardOutputContent", ""),
            stderr=answer.get("StandardErrorContent", ""),
        )

    def commands_commented(self, comment: str, since: datetime) -> tuple[Command, ...]:
        """Return the commands sent after `since` with this comment, which nobody can change."""
        after = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with translated_errors("ListCommands", comment, self._region):
            pages = self._client.get_paginator("list_commands").paginate(
                Filters=[{"key": "InvokedAfter", "value": after}], PaginationConfig={"PageSize": PAGE}
            )
            return tuple(
                Command(command["CommandId"], command["RequestedDateTime"])
                for page in pages
                for command in page["Commands"]
                if command.get("Comment") == comment
            )

    def comment_of(self, command_id: str) -> str | None:
        """Return the comment a command was sent with; None when SSM does not know the command."""
        try:
            with translated_errors("ListCommands", command_id, self._region):
                commands = self._client.list_commands(CommandId=command_id)["Commands"]
        except NotFound:
            return None
        return commands[0].get("Comment") if commands else None

    def cancel(self, command_id: str) -> None:
        """Request that a command is stopped; it may finish first. One that ended or is unknown is ignored."""
        try:
            with translated_errors("CancelCommand", command_id, self._region):
                self._client.cancel_command(CommandId=command_id)
        except NotFound:
            return
