"""SSM: agents, and commands that really run in the instances' directories.

AWS: https://docs.aws.amazon.com/systems-manager/latest/APIReference/Welcome.html.
moto: has Parameter Store and the users' own documents. Its SendCommand accepts any instance and returns
Success without running anything.
Added: agents that come online, Run Command with its states, outputs, time-outs and events, cancelling,
`AWS-RunShellScript`, listings that lag.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_cloud.call import AwsError, Call, CloudContext, Handler, PassOn
from local_cloud.services.lag import Listing, lagging
from local_cloud.services.ssm.agents import NO_AGENT, Agents, InstanceState
from local_cloud.services.ssm.commands import Command, Invocation, show_command, show_invocation, show_step
from local_cloud.services.ssm.constraints import check_constraints
from local_cloud.services.ssm.documents import OWNED_BY_AWS, about_document
from local_cloud.services.ssm.executions import Executions
from local_cloud.services.ssm.filters import passes
from local_cloud.services.ssm.pages import page
from local_cloud.services.ssm.run_command import RunCommand

__all__ = ["NO_AGENT", "Ssm"]

PAGE = 50
LISTINGS = {
    "DescribeInstanceInformation": Listing(("InstanceInformationList",), "InstanceId", "RegistrationDate"),
    "ListCommands": Listing(("Commands",), "CommandId", "RequestedDateTime"),
    "ListCommandInvocations": Listing(("CommandInvocations",), "CommandId", "RequestedDateTime"),
}
Answer = Callable[[Call], Mapping[str, Any]]


class Ssm:
    """The parts of SSM that moto lacks; the EC2 stand-in reports changes of instances to it."""

    service = "ssm"

    def __init__(
        self, ground: CloudContext, directory: Callable[[str], Path], instance_state: InstanceState
    ) -> None:
        """Run scripts in `directory(id)`; `instance_state(account, region, id)` is EC2's word, or None."""
        self._now = ground.clock.now
        self._agents = Agents(ground, instance_state, self._online)
        self._commands = RunCommand(ground, self._agents, Executions(ground, directory))

    def handlers(self) -> Mapping[str, Handler]:
        """Return what is handled here, by operation."""
        answers: dict[str, Answer] = {
            "DescribeInstanceInformation": lambda call: self._agents.describe(call.region, call.params),
            "SendCommand": lambda call: {"Command": show_command(self._commands.send(call))},
            "CancelCommand": self._cancel,
            "GetCommandInvocation": self._get,
            "ListCommands": self._list_commands,
            "ListCommandInvocations": self._list_invocations,
        }
        checked: dict[str, Handler] = {name: _checked(answer) for name, answer in answers.items()}
        for operation, listing in LISTINGS.items():
            checked[operation] = lagging(checked[operation], listing, self._now)
        return checked | {"GetDocument": _get_document, "DescribeDocument": _describe_document}

    def running(self, region: str, instance_id: str) -> None:
        """Note that an instance runs: its agent comes online later."""
        self._agents.start(region, instance_id)

    def stopped(self, region: str, instance_id: str) -> None:
        """Note that an instance stops: its scripts die and its agent is lost."""
        self._agents.lose(region, instance_id)
        self._commands.interrupt(instance_id)

    def gone(self, region: str, instance_id: str) -> None:
        """Note that an instance is terminated: its scripts die and its agent is forgotten."""
        self._agents.forget(region, instance_id)
        self._commands.give_up(region, instance_id)

    def reset(self) -> None:
        """Kill what runs, forget agents and commands."""
        self._commands.close()
        self._agents.clear()

    def _online(self, region: str, instance_id: str) -> None:
        self._commands.agent_is_online(region, instance_id)

    def _cancel(self, call: Call) -> Mapping[str, Any]:
        self._commands.cancel(call)
        return {}

    def _get(self, call: Call) -> Mapping[str, Any]:
        command, invocation = self._commands.get(call)
        named = call.params.get("PluginName")
        if named is None and len(command.steps) > 1:
            raise AwsError("InvalidPluginName", "The document has several steps: PluginName must name one.")
        steps = [step for step in command.steps if named in (None, step.name)]
        if not steps:
            raise AwsError("InvalidPluginName", "")
        return show_step(command, invocation, steps[0])

    def _list_commands(self, call: Call) -> Mapping[str, Any]:
        wishes, instance_id = call.params.get("Filters", ()), call.params.get("InstanceId")
        kept = [
            command
            for command in self._commands.listed(call)
            if (instance_id is None or instance_id in command.invocations)
            and passes(wishes, command, command.state.status)
        ]
        shown, token = page(kept, lambda each: each.command_id, call.params, PAGE)
        return {"Commands": [show_command(each) for each in shown]} | _next(token)

    def _list_invocations(self, call: Call) -> Mapping[str, Any]:
        wishes = call.params.get("Filters", ())
        if any(wish["key"] == "ExecutionStage" for wish in wishes):
            raise AwsError("InvalidFilterKey", "ExecutionStage cannot be used with ListCommandInvocations.")
        kept: list[tuple[Command, Invocation]] = [
            (command, invocation)
            for command in self._commands.listed(call)
            for invocation in command.invocations.values()
            if call.params.get("InstanceId") in (None, invocation.instance_id)
            and passes(wishes, command, invocation.state.status)
        ]
        shown, token = page(kept, _name, call.params, PAGE)
        details = bool(call.params.get("Details"))
        return {
            "CommandInvocations": [show_invocation(*each, details=details) for each in shown],
            **_next(token),
        }


def _name(each: tuple[Command, Invocation]) -> str:
    return f"{each[0].command_id} {each[1].instance_id}"


def _checked(answer: Answer) -> Handler:
    def handle(call: Call, _: PassOn) -> Mapping[str, Any]:
        check_constraints(call.operation, call.params)
        return answer(call)

    return handle


def _next(token: str | None) -> dict[str, Any]:
    return {"NextToken": token} if token else {}


def _get_document(call: Call, _: PassOn) -> Mapping[str, Any] | None:
    name = call.params["Name"]
    return about_document(name) if name in OWNED_BY_AWS else None


def _describe_document(call: Call, _: PassOn) -> Mapping[str, Any] | None:
    name = call.params["Name"]
    return {"Document": about_document(name)} if name in OWNED_BY_AWS else None
