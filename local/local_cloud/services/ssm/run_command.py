"""Run Command: sends commands, delivers them to agents, and records their results.

A command is Pending until it is delivered, a moment after it was sent or when its agent comes back (Delayed
till then), in no case after TimeoutSeconds. Its script really runs; its end is put back onto the timeline, so
states change in order of simulated time. A command that is not final when the total timeout (TimeoutSeconds
plus executionTimeout) is over turns to DeliveryTimedOut, a script whose instance was taken away too; a
command not yet delivered to an instance that is gone is Undeliverable at once.
Sources: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html,
https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html (states, timeouts).
Not modelled: MaxConcurrency and MaxErrors (50 instances at once, as by default), the agent's own minimum of
5 s for an execution timeout (below it the agent silently takes 3,600 s), and that a restarted agent may run
an interrupted script again.

moto: returns Success at once, and has no CancelCommand and no ListCommandInvocations.
"""

import threading
import uuid
from datetime import datetime, timedelta

from local_cloud.call import AwsError, Call, CloudContext
from local_cloud.services.ssm.agents import Agents
from local_cloud.services.ssm.commands import Command, Invocation, State, StepResult, overall
from local_cloud.services.ssm.documents import find_document, plan_steps
from local_cloud.services.ssm.events import command_event, invocation_event
from local_cloud.services.ssm.executions import Executions

DELIVERY = timedelta(milliseconds=500)
HISTORY = timedelta(days=30)
"""How long a command can be seen after it ended."""
WAITING = (State.PENDING, State.DELAYED)
NOT_HERE = (
    "AlarmConfiguration",
    "CloudWatchOutputConfig",
    "NotificationConfig",
    "OutputS3BucketName",
    "OutputS3KeyPrefix",
    "ServiceRoleArn",
)


class RunCommand:
    """Every command of the account."""

    def __init__(self, ground: CloudContext, agents: Agents, executions: Executions) -> None:
        """Deliver to the instances that `agents` reaches; `executions` runs what is delivered."""
        self._ground = ground
        self._agents = agents
        self._executions = executions
        self._lock = threading.RLock()
        self._commands: dict[str, Command] = {}

    def send(self, call: Call) -> Command:
        """Accept a command; it is delivered a moment later."""
        if asked := [name for name in NOT_HERE if call.params.get(name)]:
            raise AwsError("ValidationException", f"The local cloud has no {asked[0]} for commands.")
        version = call.params.get("DocumentVersion", "$DEFAULT")
        document = find_document(call.account, call.region, call.params["DocumentName"], version)
        steps = plan_steps(document, call.params.get("Parameters", {}))
        invocations = {each: Invocation(each) for each in self._addressees(call)}
        now = self._ground.clock.now()
        state = overall([each.state for each in invocations.values()])
        command = Command(str(uuid.uuid4()), call.region, dict(call.params), steps, now, invocations, state)
        with self._lock:
            self._forget_old(now)
            self._commands[command.command_id] = command
        timeline, label = self._ground.timeline, f"command {command.command_id}"
        timeline.at(now + DELIVERY, lambda: self._deliver(command), f"{label} is delivered")
        timeline.at(command.expires_at, lambda: self._expire(command), f"{label} expires")
        return command

    def get(self, call: Call) -> tuple[Command, Invocation]:
        """Return the command and the invocation that the call names.

        Raises: AwsError InvocationDoesNotExist; also in the moment between sending and delivery, as on AWS:
            the API's own waiter (CommandExecuted) retries on it.
        """
        command = self._commands.get(call.params["CommandId"])
        if command is None or command.region != call.region:
            raise AwsError("InvocationDoesNotExist", "")
        invocation = command.invocations.get(call.params["InstanceId"])
        if invocation is None or self._ground.clock.now() < command.requested_at + DELIVERY:
            raise AwsError("InvocationDoesNotExist", "")
        return command, invocation

    def listed(self, call: Call) -> list[Command]:
        """Return the commands of the call's region, or the one it names, newest first."""
        with self._lock:
            self._forget_old(self._ground.clock.now())
            commands = [each for each in self._commands.values() if each.region == call.region]
        if (command_id := call.params.get("CommandId")) is not None:
            commands = [each for each in commands if each.command_id == command_id]
            if not commands:
                raise AwsError("InvalidCommandId", "")
        return sorted(commands, key=lambda each: (each.requested_at, each.command_id), reverse=True)

    def cancel(self, call: Call) -> None:
        """Cancel a command, on the instances named or on all: what waits never runs, what runs is killed."""
        command = self._commands.get(call.params["CommandId"])
        if command is None or command.region != call.region:
            raise AwsError("InvalidCommandId", "")
        named = call.params.get("InstanceIds") or list(command.invocations)
        if unknown := [each for each in named if each not in command.invocations]:
            raise _not_valid(unknown, call)
        for instance_id in named:
            invocation = command.invocations[instance_id]
            with self._lock:
                waits, runs = invocation.state in WAITING, invocation.state is State.IN_PROGRESS
                if waits or runs:
                    self._change(command, invocation, State.CANCELLED if waits else State.CANCELLING)
            if runs:
                self._executions.stop(command, instance_id, State.CANCELLED)

    def agent_is_online(self, region: str, instance_id: str) -> None:
        """Deliver what has waited for this agent."""
        for command, invocation in self._on(region, instance_id):
            if invocation.state is State.DELAYED:
                self._start(command, invocation)

    def interrupt(self, instance_id: str) -> None:
        """Kill what runs on an instance that stops; no agent is left to report it."""
        self._executions.clear(instance_id)

    def give_up(self, region: str, instance_id: str) -> None:
        """Kill what runs on an instance that is gone; what waits for it is undeliverable."""
        self.interrupt(instance_id)
        for command, invocation in self._on(region, instance_id):
            if invocation.state in WAITING:
                self._change(command, invocation, State.UNDELIVERABLE)

    def close(self) -> None:
        """Kill everything that runs and forget every command."""
        with self._lock:
            self._commands.clear()
        self._executions.close()

    def _addressees(self, call: Call) -> list[str]:
        named: list[str] = list(call.params.get("InstanceIds", ()))
        targets = call.params.get("Targets", ())
        if bool(named) == bool(targets):
            raise AwsError("ValidationException", "Either InstanceIds or Targets must be specified.")
        if len(set(named)) != len(named):
            raise AwsError("DuplicateInstanceId", "An instance is named twice.")
        if strange := [each for each in named if not self._agents.is_registered(call.region, each)]:
            raise _not_valid(strange, call)
        for target in targets:
            if target["Key"] != "InstanceIds" and not target["Key"].startswith("tag:"):
                raise AwsError(
                    "ValidationException", f"The target key {target['Key']} is not supported here."
                )
        found = [set(self._agents.targeted(call.region, each["Key"], each["Values"])) for each in targets]
        return named or sorted(set.intersection(*found))

    def _on(self, region: str, instance_id: str) -> list[tuple[Command, Invocation]]:
        with self._lock:
            return [
                (command, command.invocations[instance_id])
                for command in self._commands.values()
                if command.region == region and instance_id in command.invocations
            ]

    def _deliver(self, command: Command) -> None:
        for invocation in command.invocations.values():
            if invocation.state is State.PENDING:
                self._start(command, invocation)

    def _start(self, command: Command, invocation: Invocation) -> None:
        now = self._ground.clock.now()
        if now > command.deliver_until:
            return
        if not self._agents.is_online(command.region, invocation.instance_id):
            self._change(command, invocation, State.DELAYED)
            return
        with self._lock:
            invocation.started_at = now
            self._change(command, invocation, State.IN_PROGRESS)
            if invocation.state is State.IN_PROGRESS:
                self._executions.start(
                    command, invocation, lambda results: self._finish(command, invocation, results)
                )

    def _finish(self, command: Command, invocation: Invocation, results: tuple[StepResult, ...]) -> None:
        states = [result.state for result in results]
        worst = next((state for state in states if state is not State.SUCCESS), State.SUCCESS)
        with self._lock:
            if not invocation.state.final:
                invocation.results = results
                self._change(command, invocation, worst)

    def _expire(self, command: Command) -> None:
        for instance_id, invocation in command.invocations.items():
            if not invocation.state.final:
                self._executions.abandon(command, instance_id)
                self._change(command, invocation, State.DELIVERY_TIMED_OUT)

    def _change(self, command: Command, invocation: Invocation, state: State) -> None:
        """Set the state of an invocation and of its command, and put both events on the bus."""
        with self._lock:
            known = command.command_id in self._commands
            if invocation.state.final or invocation.state is state or not known:
                return
            before = command.state
            invocation.state = state
            command.state = overall([each.state for each in command.invocations.values()])
            self._ground.emit(command.region, invocation_event(command, invocation))
            if command.state is not before:
                self._ground.emit(command.region, command_event(command))

    def _forget_old(self, now: datetime) -> None:
        old = [
            each for each in self._commands.values() if each.state.final and each.expires_at + HISTORY < now
        ]
        for command in old:
            del self._commands[command.command_id]


def _not_valid(instance_ids: list[str], call: Call) -> AwsError:
    listed = ", ".join(instance_ids)
    return AwsError(
        "InvalidInstanceId", f"Instances [[{listed}]] not in a valid state for account {call.account}"
    )
