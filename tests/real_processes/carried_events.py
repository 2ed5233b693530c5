"""Carries the local layer's events to what MiniStack deployed.

MiniStack's PutEvents refuses sources that begin with `aws.`, as AWS's does, so no service's event can be put
on its bus. Here each event is held against the deployed rules, read from MiniStack, and put into the queues
that are their targets, or handed to the rules of the region whose bus is one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from moto.events.models import EventPattern
from moto.events.utils import EventMessageType

from local_cloud.services.events.event_bus import Event
from tests.real_processes.ministack import MiniStack


@dataclass(frozen=True, slots=True)
class Rule:
    """A deployed rule that matches events, and the ARNs of its targets."""

    pattern: EventPattern
    targets: tuple[str, ...]


class CarriedEvents:
    """The deployed rules of some regions, by which events find their targets."""

    def __init__(self, ground: MiniStack, regions: Iterable[str]) -> None:
        """Read the rules."""
        self._ground = ground
        self._rules = {region: tuple(deployed_rules(ground, region)) for region in regions}

    def carry(self, region: str, event: Event) -> None:
        """Deliver an event as the rules of a region's bus say."""
        for rule in self._rules.get(region, ()):
            if rule.pattern.matches_event(cast(EventMessageType, event)):
                for target in rule.targets:
                    self._deliver(target, event)

    def _deliver(self, target: str, event: Event) -> None:
        _, _, service, region, account, name = target.split(":", 5)
        match service:
            case "sqs":
                sqs = self._ground.client("sqs", region)
                url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
                sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
            case "events":
                self.carry(region, event)
            case _:
                raise ValueError(f"no event is carried to {target}")


def deployed_rules(ground: MiniStack, region: str) -> Iterator[Rule]:
    """Yield the rules of a region's bus that match events."""
    events = ground.client("events", region)
    for rule in events.list_rules()["Rules"]:
        if "EventPattern" in rule:
            text = rule["EventPattern"]
            yield Rule(EventPattern(text, json.loads(text)), targets_of(ground, region, rule))


def targets_of(ground: MiniStack, region: str, rule: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ARNs of a rule's targets."""
    found = ground.client("events", region).list_targets_by_rule(Rule=rule["Name"])["Targets"]
    return tuple(target["Arn"] for target in found)
