"""How a function signs: with its own role's credentials, as its environment has them at the call.

On AWS each function is a process of its own, whose SDK reads the credentials once. Here all are in one
process and may share clients, so the environment is read at each call. botocore lets others change a request
before it is signed (`before-sign`); clients that were given credentials of their own are left alone.
"""

import os
from functools import lru_cache
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.handlers import BUILTIN_HANDLERS


def sign_as_function(request: AWSRequest, request_signer: Any, **_: Any) -> None:
    """Have a function's request signed with the credentials of its environment."""
    environment = os.environ
    given = getattr(request_signer._credentials, "method", None)
    if "AWS_LAMBDA_FUNCTION_NAME" not in environment or given != "env":
        return
    now = credentials(
        environment["AWS_ACCESS_KEY_ID"],
        environment["AWS_SECRET_ACCESS_KEY"],
        environment["AWS_SESSION_TOKEN"],
    )
    context = request.context
    request.context = {**context, "signing": {**context.get("signing", {}), "request_credentials": now}}


@lru_cache(256)
def credentials(access_key: str, secret: str, token: str) -> Credentials:
    """Return credentials as the SDK wants them."""
    return Credentials(access_key, secret, token, method="env")


def follow_environment() -> None:
    """Have the clients of every session of the SDK that is made from now on sign this way."""
    handler = ("before-sign", sign_as_function)
    if handler not in BUILTIN_HANDLERS:
        BUILTIN_HANDLERS.append(handler)
