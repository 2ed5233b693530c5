"""Recognises the AWS operation, region and caller of a raw HTTP request; parses nothing else.

The credential scope of the signature names region and service (header or presigned query,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html); `X-Amz-Target` or
`Action` names the operation, and for REST services method and path do.
"""

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote
from wsgiref.types import WSGIEnvironment

from moto.core.request import Request
from moto.core.routing import get_service_router
from werkzeug.exceptions import NotFound

SCOPE = re.compile(r"Credential=([^/,&]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
ACTION = re.compile(rb"(?:^|&)Action=([A-Za-z0-9]+)")
SERVICES = {
    "monitoring": "cloudwatch",
    "email": "ses",
    "states": "stepfunctions",
    "elasticloadbalancing": "elbv2",
    "servicequotas": "service-quotas",
}
"""Services whose signing name is not botocore's name for them."""
UNSIGNED_REGION = "us-east-1"
UNKNOWN = "Unknown"
_ROUTING = threading.Lock()
"""A router is compiled when first used, which CPython 3.11 cannot do in two threads (its issue 106905)."""


class Signed(StrEnum):
    """Where the signature of a request is."""

    HEADER = "header"
    QUERY = "query"
    NOWHERE = "nowhere"


class LocalRequest(Request):
    """A request as moto's responses take it, from a real server."""

    from_wsgi_server = True

    @property
    def raw_url(self) -> str:
        """The URL as it came; moto puts it together from parts that are taken apart for each call."""
        host, target = self.environ.get("HTTP_HOST"), self.environ["RAW_URI"]
        return f"http://{host}{target}" if host and target.startswith("/") else super().raw_url


@dataclass(frozen=True, slots=True)
class Target:
    """What a request aims at."""

    service: str
    operation: str
    region: str
    access_key: str | None
    signed: Signed
    uri_params: dict[str, Any] = field(default_factory=dict)


def recognise(environ: WSGIEnvironment) -> Target:
    """Return the operation, or `Unknown`; an unsigned REST request is S3's."""
    access_key, region, service, signed = scope(environ)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        prefix, _, operation = target.rpartition(".")
        if prefix.startswith("DynamoDBStreams"):
            service = "dynamodbstreams"
        return Target(service, operation, region, access_key, signed)
    if operation := query_action(environ):
        return Target(service, operation, region, access_key, signed)
    operation, uri_params = rest_operation(service, environ)
    return Target(service, operation, region, access_key, signed, uri_params)


def scope(environ: WSGIEnvironment) -> tuple[str | None, str, str, Signed]:
    """Return access key, region, service and where the signature is."""
    signed, text = Signed.HEADER, environ.get("HTTP_AUTHORIZATION", "")
    if not text and "X-Amz-Credential=" in environ["QUERY_STRING"]:
        signed, text = Signed.QUERY, unquote(environ["QUERY_STRING"])
    if match := SCOPE.search(text):
        access_key, region, service = match.groups()
        return access_key, region, SERVICES.get(service, service), signed
    return None, UNSIGNED_REGION, "s3", Signed.NOWHERE


def query_action(environ: WSGIEnvironment) -> str | None:
    """Return the `Action` of the query and EC2 protocols, from a form body or the query string."""
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        match = ACTION.search(environ["wsgi.input"].getvalue())
    else:
        match = ACTION.search(environ["QUERY_STRING"].encode("latin-1"))
    return match[1].decode("ascii") if match else None


def rest_operation(service: str, environ: WSGIEnvironment) -> tuple[str, dict[str, Any]]:
    """Return the operation that method and path name, with the parameters in the path."""
    try:
        with _ROUTING:
            operation, uri_params = get_service_router(service).match(LocalRequest(environ))
    except (NotFound, NotImplementedError, ValueError):
        return UNKNOWN, {}
    return str(operation.name), uri_params
