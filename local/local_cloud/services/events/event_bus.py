"""EventBridge: delivers events from services to the targets of rules, and fires rules on a schedule.

moto keeps the rules of each region's bus and matches their patterns
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html); this delivers: to
functions, queues, and the default bus of another region. Every step is an action on the timeline, so that an
event can be lost, doubled or late. A queue's policy must let the rule send to it, and another region's bus
needs a role (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html,
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-region.html); what is not allowed is not
delivered, and counted as the metric FailedInvocations counts it
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html).

moto: keeps rules and targets, and matches patterns; schedules never fire, and functions are never called.
Added: delivery to functions, queues and other regions' buses, schedules.
"""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, PassOn
from local_cloud.control.clock import Clock
from local_cloud.control.faults import Effect, Faults
from local_cloud.control.timeline import Action, Timeline
from local_cloud.lambda_.invocations import Invocations
from local_cloud.passing import lock_of, moto_backend
from local_cloud.services.events.schedule_expressions import NextAfter, next_after
from local_cloud.services.iam.authority import Authority
from local_cloud.services.iam.policies import Need
from local_cloud.services.sqs.queues import Queues

LOG = logging.getLogger(__name__)
SERVICE = "events.amazonaws.com"
Event = dict[str, Any]
Target = Mapping[str, Any]
NOT_READ = frozenset({"InputPath", "InputTransformer"})


class EventBus:
    """The stand-in for EventBridge: the default bus of every region."""

    service = "events"

    def __init__(
        self,
        *,
        clock: Clock,
        timeline: Timeline,
        faults: Faults,
        authority: Authority,
        invocations: Invocations,
        queues: Queues,
    ) -> None:
        self._clock = clock
        self._timeline = timeline
        self._faults = faults
        self._authority = authority
        self._invocations = invocations
        self._queues = queues
        self._schedules: dict[str, str] = {}
        self.failed_invocations: Counter[str] = Counter()
        """How many events each rule, by ARN, was not allowed to deliver."""
        self.on_event: list[Callable[[str, Event], object]] = []
        """Are called with the region of each event that arrives on a bus, and the event."""

    def handlers(self) -> Mapping[str, Handler]:
        """Deliver what is put, fire what is scheduled, refuse targets that cannot be served."""
        return {"PutEvents": self._put_events, "PutRule": self._put_rule, "PutTargets": self._put_targets}

    def clear(self) -> None:
        """Forget every schedule, and what failed."""
        self._schedules.clear()
        self.failed_invocations.clear()

    def emit(self, region: str, event: Event) -> None:
        """Put a service's event on a region's default bus."""
        self._send(region, enveloped(event, region, self._clock.now()))

    def _send(self, region: str, event: Event) -> None:
        self._on_its_way(event, lambda: self._route(region, event))

    def _on_its_way(self, event: Event, arrive: Action) -> None:
        """Deliver an event: now and once, or as the active faults prescribe."""
        effect = self._faults.for_event(event["detail-type"]) or Effect.model_construct()
        for _ in range(0 if effect.drop else effect.duplicate or 1):
            self._timeline.after(effect.delay or timedelta(0), arrive, f"event {event['detail-type']}")

    def _route(self, region: str, event: Event) -> None:
        for carry in self.on_event:
            carry(region, event)
        with lock_of("events"):
            rules = list(rules_of(region).values())
            matching = [rule for rule in rules if rule.event_pattern.dump() and rule.state == "ENABLED"]
            targets = [
                (str(rule.arn), target)
                for rule in matching
                if rule.event_pattern.matches_event(event)
                for target in rule.targets
            ]
        self._deliver_to_all(targets, event)

    def _deliver_to_all(self, targets: Iterable[tuple[str, Target]], event: Event) -> None:
        for rule_arn, target in targets:
            if self._may_deliver(rule_arn, target):
                self._deliver(target, event)
            else:
                LOG.warning("%s may not deliver to %s", rule_arn, target["Arn"])
                self.failed_invocations[rule_arn] += 1

    def _may_deliver(self, rule_arn: str, target: Target) -> bool:
        """Return whether a queue's policy, or the target's role, lets a rule deliver."""
        arn = target["Arn"]
        _, _, service, region, _, _ = arn.split(":", 5)
        match service:
            case "sqs":
                context = {"aws:sourcearn": rule_arn, "aws:sourceaccount": ACCOUNT}
                return self._authority.service_may(SERVICE, Need("sqs:SendMessage", arn, context))
            case "events":
                role = target.get("RoleArn", "")
                return (
                    self._authority.service_may_assume(SERVICE, role)
                    and self._authority.role_may(role, "events", Need("events:PutEvents", arn), region)
                    is None
                )
        return True

    def _deliver(self, target: Target, event: Event) -> None:
        """Hand an event to one target; which kinds there are is checked when targets are put."""
        payload = json.loads(target["Input"]) if target.get("Input") else event
        _, _, service, region, _, _ = target["Arn"].split(":", 5)
        match service:
            case "lambda":
                self._invocations.send(target["Arn"], payload)
            case "sqs":
                self._queues.deliver(target["Arn"], json.dumps(payload))
            case "events":
                self._timeline.after(timedelta(0), lambda: self._route(region, event), f"event to {region}")

    def _put_events(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        entries = call.params.get("Entries", ())
        if not 1 <= len(entries) <= 10:
            raise AwsError("ValidationException", "Between 1 and 10 entries can be put at a time.")
        return {"FailedEntryCount": 0, "Entries": [self._put_event(call.region, entry) for entry in entries]}

    def _put_event(self, region: str, entry: Mapping[str, Any]) -> Mapping[str, str]:
        try:
            detail = json.loads(entry["Detail"])
            event = {"source": entry["Source"], "detail-type": entry["DetailType"], "detail": detail}
        except KeyError as error:
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {error} is not valid."}
        except ValueError:
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        whole = enveloped({**event, "resources": entry.get("Resources", [])}, region, self._clock.now())
        self._send(region, whole)
        return {"EventId": whole["id"]}

    def _put_rule(self, call: Call, pass_on: PassOn) -> None:
        expression = call.params.get("ScheduleExpression")
        try:
            following = next_after(expression) if expression else None
        except ValueError as error:
            raise AwsError("ValidationException", f"ScheduleExpression is not valid: {error}.") from error
        if pass_on().status_code == 200 and expression and following:
            arn = rules_of(call.region)[call.params["Name"]].arn
            if self._schedules.get(arn) != expression:
                self._schedules[arn] = expression
                self._plan(arn, expression, following, self._clock.now())

    def _put_targets(self, call: Call, pass_on: PassOn) -> None:
        for target in call.params.get("Targets", ()):
            if unread := NOT_READ & target.keys():
                raise AwsError("ValidationException", f"The local cloud does not read {sorted(unread)[0]}.")
            if target["Arn"].split(":")[2] not in ("lambda", "sqs", "events"):
                raise AwsError("ValidationException", f"The local cloud cannot deliver to {target['Arn']}.")
        pass_on()

    def _plan(self, arn: str, expression: str, following: NextAfter, after: datetime) -> None:
        due = following(after)
        if due is None:
            return

        def fire() -> None:
            if self._schedules.get(arn) != expression:
                return
            if self._fire(arn, due):
                self._plan(arn, expression, following, due)
            else:
                del self._schedules[arn]

        self._timeline.at(due, fire, f"schedule {arn}")

    def _fire(self, arn: str, due: datetime) -> bool:
        """Send the event of a scheduled rule to its targets, unless it is disabled; False if it is gone."""
        region, name = arn.split(":")[3], arn.rpartition("/")[2]
        rule = rules_of(region).get(name)
        if rule is None:
            return False
        if rule.state == "ENABLED":
            told = {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [arn]}
            event, targets = enveloped(told, region, due), [(arn, target) for target in rule.targets]
            self._on_its_way(event, lambda: self._deliver_to_all(targets, event))
        return True


def rules_of(region: str) -> dict[str, Any]:
    """Return moto's rules on a region's default bus, by name."""
    rules: dict[str, Any] = moto_backend("events")[ACCOUNT][region].event_buses["default"].rules
    return rules


def enveloped(event: Event, region: str, at: datetime) -> Event:
    """Add what every event has.

    https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    """
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": event["detail-type"],
        "source": event["source"],
        "account": ACCOUNT,
        "time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": event.get("resources", []),
        "detail": event.get("detail", {}),
    }
