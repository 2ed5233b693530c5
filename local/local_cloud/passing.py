"""Passes a request on to moto, in process: the routing of moto's own server, without its web framework.

A service of moto names URL patterns and the function behind each (`urls.py`). moto keeps one state per
service and does not lock it, so calls to one service run one at a time here.
"""

import importlib
import logging
import re
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, cast
from wsgiref.types import WSGIEnvironment

from botocore.exceptions import ClientError
from moto.backends import get_backend

from local_cloud import moto_pace
from local_cloud.call import AwsError
from local_cloud.recognise import LocalRequest
from local_cloud.server import HttpAnswer

LOG = logging.getLogger(__name__)
moto_pace.quicken()
MotoView = Callable[[LocalRequest, str, Any], Any]


@cache
def moto_backend(service: str) -> Any:
    """Return moto's state of a service, by account, then region; moto types it name by name."""
    return cast(Any, get_backend)(service)


@cache
def lock_of(service: str) -> threading.RLock:
    """Return the lock under which calls to a service run."""
    return threading.RLock()


@cache
def views_of(service: str) -> tuple[tuple[re.Pattern[str], MotoView], ...]:
    """Return moto's URL patterns of a service, in its order.

    Raises:
        AwsError: moto has no such service, or what the service needs is not installed.
    """
    try:
        package = moto_backend(service).backend.__module__.removesuffix(".models")
        module = importlib.import_module(f"{package}.urls")
    except (ImportError, AttributeError, KeyError) as error:
        raise AwsError("NotImplemented", f"The local cloud has no service {service}: {error}", 501) from error
    return tuple((re.compile(pattern.format("")), view) for pattern, view in module.url_paths.items())


def pass_on(service: str, environ: WSGIEnvironment) -> HttpAnswer:
    """Let moto answer the request.

    Raises:
        AwsError: moto does not know the service, the path or the operation.
    """
    environ["wsgi.input"].seek(0)
    request = LocalRequest(environ)
    view = find_view(service, request.raw_path)
    try:
        with lock_of(service):
            answered = view(request, request.raw_url, request.headers)
    except ClientError as error:
        raise AwsError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
    except NotImplementedError as error:
        raise AwsError("NotImplemented", f"The local cloud lacks this of {service}: {error}", 501) from error
    status, headers, body = answered if len(answered) == 3 else (200, {}, answered)
    return HttpAnswer(int(status), headers, as_bytes(body))


def find_view(service: str, path: str) -> MotoView:
    """Return the function behind a path."""
    for pattern, view in views_of(service):
        if pattern.fullmatch(path):
            return view
    raise AwsError("NotFound", f"{service} has nothing at {path}", 404)


def as_bytes(body: Any) -> bytes:
    """Return a moto body, text or bytes or a stream of them, as bytes."""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b"".join(body)
