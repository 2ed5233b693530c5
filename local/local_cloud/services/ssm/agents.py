"""SSM agents: which instances can be reached, and what DescribeInstanceInformation shows.

An instance's agent registers and is Online a while after the instance runs. It is ConnectionLost while its
instance is stopped, and comes back by itself. A terminated instance is forgotten. An instance with the tag
`local:ssm-agent` = `none` has no agent: it never registers.
Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeInstanceInformation.html

moto: has no agents.
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, CloudContext
from local_cloud.passing import moto_backend
from local_cloud.services.ssm.pages import page

NO_AGENT = ("local:ssm-agent", "none")
PAGE = 10
FIELDS = {
    "InstanceIds": "InstanceId",
    "PingStatus": "PingStatus",
    "PlatformTypes": "PlatformType",
    "ResourceType": "ResourceType",
    "AgentVersion": "AgentVersion",
    "SourceIds": "SourceId",
    "SourceTypes": "SourceType",
}
NEVER_SET = ("ActivationIds", "AssociationStatus", "IamRole")
PING_STATUSES = ("Online", "ConnectionLost", "Inactive")

InstanceState = Callable[[str, str, str], str | None]


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that has registered; `last_ping` is when it was last heard of, if it is away."""

    region: str
    instance_id: str
    registered_at: datetime
    last_ping: datetime
    online: bool


class Agents:
    """The agents of every region."""

    def __init__(
        self, ground: CloudContext, instance_state: InstanceState, on_online: Callable[[str, str], None]
    ) -> None:
        """Watch over instances; `on_online(region, instance_id)` is called when an agent comes online."""
        self._ground = ground
        self._instance_state = instance_state
        self._on_online = on_online
        self._agents: dict[tuple[str, str], Agent] = {}

    def start(self, region: str, instance_id: str) -> None:
        """Schedule the agent of an instance that now runs to come online after a while."""
        self.lose(region, instance_id)
        self._ground.timeline.after(
            self._ground.quotas.agent_online_after,
            lambda: self._come_online(region, instance_id),
            f"the SSM agent of {instance_id} comes online",
        )

    def lose(self, region: str, instance_id: str) -> None:
        """Lose the connection to an instance's agent, if there was one."""
        if agent := self._agents.get((region, instance_id)):
            self._agents[region, instance_id] = replace(
                agent, online=False, last_ping=self._ground.clock.now()
            )

    def forget(self, region: str, instance_id: str) -> None:
        """Drop the registration of an instance that is gone."""
        self._agents.pop((region, instance_id), None)

    def clear(self) -> None:
        """Drop all."""
        self._agents.clear()

    def is_registered(self, region: str, instance_id: str) -> bool:
        """Return whether a command can be addressed to the instance: its agent has registered once."""
        state = self._instance_state(ACCOUNT, region, instance_id)
        return (region, instance_id) in self._agents and state in (
            "pending",
            "running",
            "stopping",
            "stopped",
        )

    def is_online(self, region: str, instance_id: str) -> bool:
        """Return whether a command would reach the instance now."""
        agent = self._agents.get((region, instance_id))
        return agent is not None and agent.online and self._runs(region, instance_id)

    def targeted(self, region: str, key: str, values: Sequence[str]) -> list[str]:
        """Return the registered instances that a target (`InstanceIds`, `tag:name`, `tag-key`) means."""
        return [agent.instance_id for agent in self._found(region, [{"Key": key, "Values": values}])]

    def describe(self, region: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer DescribeInstanceInformation."""
        found = self._found(region, _filters(params))
        shown, token = page(found, lambda agent: agent.instance_id, params, PAGE)
        instances = {each.id: each for each in moto_backend("ec2")[ACCOUNT][region].all_instances()}
        listed = [self._show(agent) | _addresses(instances[agent.instance_id]) for agent in shown]
        return {"InstanceInformationList": listed} | ({"NextToken": token} if token else {})

    def _found(self, region: str, filters: Sequence[Mapping[str, Any]]) -> list[Agent]:
        """Return the registered agents that pass all filters, by instance id."""
        named = [set(each["Values"]) for each in filters if each["Key"] == "InstanceIds"]
        ids = (
            set.intersection(*named)
            if named
            else {name for where, name in list(self._agents) if where == region}
        )
        registered = [self._agents[region, name] for name in sorted(ids) if self.is_registered(region, name)]
        return [agent for agent in registered if all(self._passes(agent, wish) for wish in filters)]

    def _passes(self, agent: Agent, wish: Mapping[str, Any]) -> bool:
        key, values = wish["Key"], wish["Values"]
        if key != "tag-key" and not key.startswith("tag:"):
            return self._show(agent).get(FIELDS.get(key, "")) in values
        tags = _tags(agent.region, agent.instance_id)
        if key == "tag-key":
            return any(value in tags for value in values)
        name = key.removeprefix("tag:")
        return name in tags and any(fnmatch.fnmatchcase(tags[name], value) for value in values)

    def _runs(self, region: str, instance_id: str) -> bool:
        return self._instance_state(ACCOUNT, region, instance_id) == "running"

    def _come_online(self, region: str, instance_id: str) -> None:
        if not self._runs(region, instance_id) or NO_AGENT in _tags(region, instance_id).items():
            return
        now = self._ground.clock.now()
        known = self._agents.get((region, instance_id))
        registered_at = known.registered_at if known else now
        self._agents[region, instance_id] = Agent(region, instance_id, registered_at, now, online=True)
        self._on_online(region, instance_id)

    def _show(self, agent: Agent) -> dict[str, Any]:
        online = self.is_online(agent.region, agent.instance_id)
        return {
            "InstanceId": agent.instance_id,
            "PingStatus": "Online" if online else "ConnectionLost",
            "LastPingDateTime": self._ground.clock.now() if online else agent.last_ping,
            "AgentVersion": "3.3.0.0",
            "IsLatestVersion": True,
            "PlatformType": "Linux",
            "PlatformName": "Local",
            "PlatformVersion": "1",
            "RegistrationDate": agent.registered_at,
            "ResourceType": "EC2Instance",
            "SourceId": agent.instance_id,
            "SourceType": "AWS::EC2::Instance",
        }


def _tags(region: str, instance_id: str) -> Mapping[str, str]:
    tags: Mapping[str, str] = moto_backend("ec2")[ACCOUNT][region].tags.get(instance_id, {})
    return tags


def _addresses(instance: Any) -> dict[str, str]:
    return {"IPAddress": instance.private_ip, "ComputerName": instance.private_dns_name}


def _filters(params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the filters, checked; the older `InstanceInformationFilterList` means the same."""
    older = [
        {"Key": each["key"], "Values": each["valueSet"]}
        for each in params.get("InstanceInformationFilterList", ())
    ]
    filters: list[Mapping[str, Any]] = [*params.get("Filters", ()), *older]
    for each in filters:
        key, values = each["Key"], each["Values"]
        if key not in FIELDS and key not in NEVER_SET and key != "tag-key" and not key.startswith("tag:"):
            raise AwsError("InvalidFilterKey", f"The filter key {key} is not valid.")
        if key == "PingStatus" and (wrong := set(values) - set(PING_STATUSES)):
            raise AwsError(
                "InvalidInstanceInformationFilterValue", f"{sorted(wrong)[0]} is not a ping status."
            )
    return filters
