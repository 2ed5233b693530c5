"""SNS: mails to the addresses that subscribe to a topic, and the policies of topics and their keys.

A service publishes to a topic only if the topic's policy lets it, and to an encrypted one only if the key's
policy lets it use the key; otherwise what it has to say is lost.
https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html

An address that subscribes has to confirm, by a link in a mail; here it has confirmed at once.

moto: keeps topics, policies and subscriptions, checks what is published; mails nothing and judges no policy.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, PassOn
from local_cloud.passing import lock_of, moto_backend

LOG = logging.getLogger(__name__)
LONGEST_SUBJECT = 100
Conditions = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Notification:
    """What is published to a topic."""

    topic: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A notification as it reached an address."""

    at: datetime
    to: str
    subject: str
    text: str


class Topics:
    """The stand-in for SNS."""

    service = "sns"

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.mails: list[Mail] = []
        """Every mail, the oldest first."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations that mail."""
        return {"Publish": self._publish}

    def clear(self) -> None:
        """Forget every mail."""
        self.mails.clear()

    def to_document(self) -> list[dict[str, str]]:
        """Return every mail as JSON shows it."""
        return [{**asdict(mail), "at": mail.at.isoformat()} for mail in self.mails]

    def publish_for(self, service: str, source_arn: str, notification: Notification) -> None:
        """Publish on behalf of an AWS service, as far as policies let it."""
        region = notification.topic.split(":")[3]
        with lock_of("sns"):
            topic = moto_backend("sns")[ACCOUNT][region].topics.get(notification.topic)
        if topic is None:
            LOG.warning("a notification is lost: there is no topic %s", notification.topic)
            return
        context = {"aws:SourceArn": source_arn, "aws:SourceAccount": ACCOUNT}
        if not allows(topic._policy_json, service, "sns:Publish", context):
            LOG.warning("%s may not publish to %s", service, notification.topic)
        elif topic.kms_master_key_id and not self._may_use_key(topic, region, service, context):
            LOG.warning("%s may not use the key of %s", service, notification.topic)
        else:
            self._mail(notification, region)

    @staticmethod
    def _may_use_key(topic: Any, region: str, service: str, context: Mapping[str, str]) -> bool:
        with lock_of("kms"):
            key = moto_backend("kms")[ACCOUNT][region].keys.get(topic.kms_master_key_id)
        policy = json.loads(key.policy) if key else {"Statement": []}
        return all(
            allows(policy, service, action, context) for action in ("kms:Decrypt", "kms:GenerateDataKey")
        )

    def _publish(self, call: Call, pass_on: PassOn) -> None:
        """Mail what moto has accepted.

        https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
        """
        given = call.params
        subject, message = given.get("Subject", ""), given["Message"]
        if subject and (len(subject) >= LONGEST_SUBJECT or not (subject.isascii() and subject.isprintable())):
            raise AwsError("InvalidParameter", "Invalid parameter: Subject")
        if given.get("MessageStructure") == "json":
            by_protocol = json.loads(message)
            message = by_protocol.get("email", by_protocol["default"])
        if pass_on().status_code == 200:
            self._mail(Notification(given["TopicArn"], subject, message), call.region)

    def _mail(self, notification: Notification, region: str) -> None:
        with lock_of("sns"):
            subscriptions = list(moto_backend("sns")[ACCOUNT][region].subscriptions.values())
        for each in subscriptions:
            if each.topic.arn == notification.topic and each.protocol == "email":
                self.mails.append(
                    Mail(self._now(), each.endpoint, notification.subject, notification.message)
                )


def allows(policy: Mapping[str, Any], service: str, action: str, context: Mapping[str, str]) -> bool:
    """Return whether a resource's policy allows an action to a service, by what it knows of the request."""
    return any(
        statement["Effect"] == "Allow"
        and isinstance(statement["Principal"], Mapping)
        and service in listed(statement["Principal"].get("Service", ()))
        and any(fnmatchcase(action.lower(), each.lower()) for each in listed(statement["Action"]))
        and met(statement.get("Condition", {}), context)
        for statement in policy["Statement"]
    )


def met(conditions: Conditions, context: Mapping[str, str]) -> bool:
    """Return whether all conditions of a statement hold; an operator that is not known here never does."""
    return all(
        operator in ("StringEquals", "ArnLike", "ArnEquals", "StringLike")
        and any(fnmatchcase(context.get(key, ""), pattern) for pattern in listed(wanted))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def listed(value: str | Iterable[str]) -> list[str]:
    """Return a value that may stand alone or in a list."""
    return [value] if isinstance(value, str) else list(value)
