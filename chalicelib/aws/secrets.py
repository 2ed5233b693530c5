"""Credentials of other clouds: kept in AWS Secrets Manager, read when needed, stored nowhere else."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors
from chalicelib.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class Secrets:
    """Secrets of the home region; each is read once per process."""

    def __init__(self, client: "SecretsManagerClient") -> None:
        self._client = client
        self._read: dict[str, Mapping[str, str]] = {}

    def secret(self, secret_id: str) -> Mapping[str, str]:
        """Return a secret that is a JSON object of strings.

        Raises:
            NotFound: there is no such secret.
            InvalidInput: it is not a JSON object of strings. Its value is never shown.
        """
        if secret_id not in self._read:
            with translated_errors("GetSecretValue", secret_id, self._client.meta.region_name):
                text = self._client.get_secret_value(SecretId=secret_id).get("SecretString", "")
            self._read[secret_id] = _strings(secret_id, text)
        return self._read[secret_id]

    def deleted_at(self, secret_id: str) -> datetime | None:
        """Return when the deletion of a secret was asked for; None for one that stays. Its value is not read.

        Raises:
            NotFound: there is no such secret.
        """
        with translated_errors("DescribeSecret", secret_id, self._client.meta.region_name):
            return self._client.describe_secret(SecretId=secret_id).get("DeletedDate")


def _strings(secret_id: str, text: str) -> Mapping[str, str]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        problem = Problem(
            "", "(not shown)", 'a JSON object of strings, such as {"key": "...", "secret": "..."}'
        )
        # The parser's own exception quotes the text, so it is left out of the chain on purpose.
        raise InvalidInput(f"secret {secret_id}", [problem]) from None
    return document
