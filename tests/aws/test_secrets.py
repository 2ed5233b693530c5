"""Credentials of other clouds are read once, and never shown."""

import pytest

from chalicelib.aws.clients import Clients
from chalicelib.aws.secrets import Secrets
from chalicelib.errors import InvalidInput, NotFound
from local_cloud.cloud import Cloud
from tests.aws.conftest import HOME


@pytest.fixture
def secrets(clients: Clients) -> Secrets:
    return Secrets(clients.secrets())


def test_a_secret_is_read_once(cloud: Cloud, secrets: Secrets) -> None:
    cloud.put_secret("farshore/azure", {"key": "k", "secret": "s"}, HOME)
    cloud.calls.clear()
    assert secrets.secret("farshore/azure") == secrets.secret("farshore/azure") == {"key": "k", "secret": "s"}
    assert cloud.calls.by_operation()["secretsmanager"] == {"GetSecretValue": 1}


def test_a_missing_secret_is_named(secrets: Secrets) -> None:
    with pytest.raises(NotFound, match="farshore/none"):
        secrets.secret("farshore/none")


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], {"key": 3, "secret": "hunter2"}])
def test_a_secret_of_another_form_is_refused_without_showing_it(
    cloud: Cloud, secrets: Secrets, value: object
) -> None:
    cloud.put_secret("farshore/odd", value, HOME)
    with pytest.raises(InvalidInput, match="a JSON object of strings") as refused:
        secrets.secret("farshore/odd")
    assert "hunter2" not in str(refused.value)
