"""Makes moto faster: what it repeats for every call or service with the same result is done once.

Invariant: each replacement returns what moto's own code would.
"""

import json
import string
import time
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any

from moto.core import base_backend, errors, responses, utils
from moto.core.base_backend import BackendDict
from moto.core.exceptions import JsonRESTError
from moto.kms import models as kms
from moto.kms.utils import RSAPrivateKey
from moto.moto_api._internal.moto_random import MotoRandom
from moto.sqs import models as sqs
from werkzeug.exceptions import HTTPException


def quicken() -> None:
    """Replace moto's implementations with the faster ones."""
    # moto lists a response class's methods for every call, which is a fifth of the cost of a small one.
    vars(responses)["method_names_from_class"] = cache(utils.method_names_from_class)
    vars(responses)["camelcase_to_underscores"] = lru_cache(1024)(utils.camelcase_to_underscores)
    # setattr, since mypy takes no assignment to a method
    setattr(MotoRandom, "get_random_string", random_string)  # noqa: B010
    setattr(base_backend.AccountSpecificBackend, "_generate_regions", regions_of_any)  # noqa: B010
    setattr(BackendDict, "__getitem__", state_of)  # noqa: B010
    # Each error of moto's makes a factory of its own, whose cache of a service's errors so stays empty.
    vars(errors)["ErrorLookupFactory"] = cache(errors.ErrorLookupFactory)
    vars(kms)["generate_private_key"] = private_key_of
    setattr(JsonRESTError, "__init__", make_error)  # noqa: B010
    for module in (utils, sqs):
        vars(module)["unix_time"] = unix_time


def make_error(self: JsonRESTError, error_type: str, message: str, _: str = "", **__: Any) -> None:
    """Initialise an error of a JSON service; moto also renders each in XML and discards that."""
    HTTPException.__init__(self)
    self.error_type, self.message = error_type, message
    self.description = json.dumps({"__type": error_type, "message": message})
    self.content_type = "application/json"


UNIX_TIME: Any = utils.unix_time


def unix_time(moment: datetime | None = None) -> float:
    """Return a moment, or else now, in seconds since 1970, without two dates and their difference."""
    return UNIX_TIME(moment) if moment else time.time()


class LateKey:
    """An RSA key that is made, in a tenth of a second and more, when something is first asked of it."""

    @cached_property
    def _made(self) -> RSAPrivateKey:
        return RSAPrivateKey(2048)

    def __getattr__(self, name: str) -> Any:
        """Ask the key."""
        return getattr(self._made, name)


GENERATE: Any = vars(kms)["generate_private_key"]


def private_key_of(spec: str) -> Any:
    """Return a private key; moto makes one even for a symmetric key, such as every table has."""
    return GENERATE(spec) if spec.startswith(("RSA", "ECC")) else LateKey()


INSTANCES: list[BackendDict[Any]] = vars(BackendDict)["_instances"]
"""The states that the next reset empties."""
STATE_OF: Any = BackendDict.__getitem__


def state_of(self: BackendDict[Any], account: str) -> Any:
    """Return an account's state of a service, that is known for the next reset."""
    for known in INSTANCES:
        if known is self and account in self:
            return dict.__getitem__(self, account)
    return STATE_OF(self, account)


def letters(pool: str) -> bytes:
    """Return a table from any byte to one of a pool of characters."""
    return (pool * (256 // len(pool) + 1))[:256].encode()


ALPHANUMERIC, ALPHABETIC = letters(string.ascii_letters + string.digits), letters(string.ascii_letters)
LOWER_CASE = letters(string.ascii_lowercase)


def random_string(
    self: MotoRandom, length: int = 20, include_digits: bool = True, lower_case: bool = False
) -> str:
    """Return random letters and digits; every answer of moto has 52 of them as its id."""
    table = ALPHANUMERIC if include_digits else ALPHABETIC
    text = self.randbytes(length).translate(table).decode()
    return text.lower() if lower_case else text


def regions_of_any(self: Any, service: str) -> list[str]:
    """Return a service's regions in every partition; moto's cache keeps one answer, and state, per reset."""
    return list(regions_of(service))


@cache
def regions_of(service: str) -> tuple[str, ...]:
    """Return a service's regions."""
    session = base_backend.AccountSpecificBackend.get_session()
    partitions = session.get_available_partitions()
    return tuple(
        region
        for partition in partitions
        for region in session.get_available_regions(service, partition_name=partition)
    )
