"""The topic that operators subscribe to: what is published there is mailed, or read by a program."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.aws.errors import translated_errors

# Less than 100 printable ASCII characters (https://docs.aws.amazon.com/sns/latest/api/API_Publish.html).
LONGEST_SUBJECT = 99


class Topic:
    """Publishes to the SNS topic `arn`."""

    def __init__(self, client: Any, arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, subject: str, text: str, document: Mapping[str, Any], **filters: str) -> None:
        """Publish `text` to mail addresses and `document`, as JSON, to all other subscribers.

        Subscriptions can filter by the message's attributes `filters`.
        """
        message = {"default": json.dumps(document, ensure_ascii=False), "email": text}
        with translated_errors("Publish", self._arn):
            self._client.publish(
                TopicArn=self._arn,
                Subject=_printable(subject)[:LONGEST_SUBJECT],
                Message=json.dumps(message, ensure_ascii=False),
                MessageStructure="json",
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in filters.items()
                },
            )


def _printable(subject: str) -> str:
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in subject)
