"""API Gateway in front of the stack's API function: REST, Lambda proxy integration, one stage.

Events and answers have the shapes of
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html. Routes are
those of the packaged definition; others get what it says for `MISSING_AUTHENTICATION_TOKEN`. Signatures must
be correct, and who signed must be allowed to invoke the route
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-control-access-using-iam-policies-to-invoke-api.html).
Unsigned requests are accepted unless that is disabled, since only this machine's operator can
reach this loopback port.

moto: its API Gateway, which calls no function, is not used.
"""

import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote
from wsgiref.types import WSGIEnvironment

from local_cloud.call import ACCOUNT
from local_cloud.control.clock import Clock
from local_cloud.lambda_.functions import FunctionError, Functions
from local_cloud.server import HttpAnswer
from local_cloud.services.iam.authority import Authority
from local_cloud.services.iam.policies import Need
from local_cloud.services.iam.refusals import RefusedError, Wrong
from local_cloud.services.iam.sessions import Sessions
from local_cloud.services.iam.signatures import Signatures

SERVICE = "execute-api"
"""What requests to an API are signed for."""
LONGEST = timedelta(seconds=29)
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"""
LARGEST_BODY_BYTES = 10 * 1024 * 1024
FUNCTION_OF = re.compile(r"function:([^/:]+)/invocations|functions/.*:function:([^/]+)/invocations")
PARAMETER = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One resource and method of the API."""

    method: str
    resource: str
    path: re.Pattern[str]
    function: str


@dataclass(slots=True)
class Api:
    """The API that is served."""

    id: str
    stage: str
    routes: list[Route] = field(default_factory=list)
    binary_types: frozenset[str] = frozenset()
    own_answers: Mapping[str, Any] = field(default_factory=dict)
    """SAM's `GatewayResponses`: what the gateway itself answers, by the kind of answer."""


class Gateway:
    """Answers HTTP requests with the API's function; without an API everything is unknown to it."""

    def __init__(
        self,
        clock: Clock,
        functions: Functions,
        sessions: Sessions,
        signatures: Signatures,
        authority: Authority,
        *,
        takes_unsigned: bool,
    ) -> None:
        self._clock = clock
        self._functions = functions
        self._sessions = sessions
        self._signatures = signatures
        self._authority = authority
        self._takes_unsigned = takes_unsigned
        self._api = Api("none", "none")

    def serve(
        self, api_id: str, stage: str, definition: Mapping[str, Any], own_answers: Mapping[str, Any]
    ) -> None:
        """Serve an API's definition (OpenAPI 2 with API Gateway's extensions) from now on."""
        self._api = Api(api_id, stage, binary_types=binary_types_of(definition), own_answers=own_answers)
        for resource, methods in definition["paths"].items():
            for method, operation in methods.items():
                self._api.routes.append(route_of(resource, method, operation))
        self._api.routes.sort(key=lambda route: route.resource.count("{"))

    def clear(self) -> None:
        """Serve nothing."""
        self._api = Api("none", "none")

    def __call__(self, environ: WSGIEnvironment) -> HttpAnswer:
        """Answer one request; a stage name before the path, as in URLs on AWS, is removed."""
        path = environ["RAW_URI"].partition("?")[0].removeprefix(f"/{self._api.stage}") or "/"
        body: bytes = environ["wsgi.input"].getvalue()
        if len(body) > LARGEST_BODY_BYTES:
            return message(413, "Request Too Long")
        found = self._find(environ["REQUEST_METHOD"], path)
        if found is None:
            return self._own_answer("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token")
        route, parameters = found
        if refusal := self._refusal(environ, path):
            return refusal
        try:
            event = self._event(environ, route, path, parameters)
            answer = self._functions.invoke(route.function, event, at_most=LONGEST)
        except FunctionError:
            return message(502, "Internal server error")
        return self._answer(answer, environ)

    def _refusal(self, environ: WSGIEnvironment, path: str) -> HttpAnswer | None:
        """Return the answer to a request that is not signed correctly, or that its signer may not make."""
        try:
            claim = self._signatures.check(environ)
        except RefusedError as refused:
            if refused.wrong is not Wrong.MISSING:
                return self._own_answer("INVALID_SIGNATURE", 403, refused.message)
            if self._takes_unsigned:
                return None
            return self._own_answer("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token")
        if claim.service != SERVICE:
            why = f"Credential should be scoped to correct service: '{SERVICE}'."
            return self._own_answer("INVALID_SIGNATURE", 403, why)
        session = self._sessions.get(claim.access_key)
        named = f"{self._api.id}/{self._api.stage}/{environ['REQUEST_METHOD']}{path}"
        need = Need("execute-api:Invoke", f"arn:aws:execute-api:{claim.region}:{ACCOUNT}:{named}")
        if session and (denial := self._authority.may(session, need, claim.region)):
            return self._own_answer("ACCESS_DENIED", 403, denial)
        return None

    def _own_answer(self, kind: str, status: int, text: str) -> HttpAnswer:
        """Return the gateway's own answer, as the API's definition or else the gateway's default has it.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-gatewayResponse-definition.html
        """
        custom = self._api.own_answers.get(kind)
        if custom is None:
            return message(status, text)
        given = custom.get("ResponseParameters", {}).get("Headers", {})
        headers = {"Content-Type": "application/json"} | {
            name: value.strip("'") for name, value in given.items()
        }
        body = custom["ResponseTemplates"]["application/json"]
        return HttpAnswer(int(custom.get("StatusCode", status)), headers, body.encode())

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for route in self._api.routes:
            match = route.path.fullmatch(path)
            if match and route.method in (method, "ANY"):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return None

    def _event(
        self, environ: WSGIEnvironment, route: Route, path: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        headers = headers_of(environ)
        query = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
        body: bytes = environ["wsgi.input"].getvalue()
        is_binary = self._is_binary(environ.get("CONTENT_TYPE", ""))
        now = self._clock.now()
        return {
            "resource": route.resource,
            "path": unquote(path),
            "httpMethod": environ["REQUEST_METHOD"],
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": dict(query) or None,
            "multiValueQueryStringParameters": multiple(query) or None,
            "pathParameters": dict(parameters) or None,
            "stageVariables": None,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": self._api.id,
                "stage": self._api.stage,
                "requestId": str(uuid.uuid4()),
                "resourceId": "local",
                "resourcePath": route.resource,
                "httpMethod": environ["REQUEST_METHOD"],
                "path": f"/{self._api.stage}{unquote(path)}",
                "protocol": "HTTP/1.1",
                "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "requestTimeEpoch": int(now.timestamp() * 1000),
                "identity": {"sourceIp": environ["REMOTE_ADDR"], "userAgent": headers.get("User-Agent")},
            },
            "body": text_of(body, is_binary=is_binary),
            "isBase64Encoded": is_binary and bool(body),
        }

    def _is_binary(self, content_type: str) -> bool:
        kind = content_type.partition(";")[0].strip().lower()
        return bool(kind) and (kind in self._api.binary_types or "*/*" in self._api.binary_types)

    def _answer(self, answer: Any, environ: WSGIEnvironment) -> HttpAnswer:
        """Return the function's answer as HTTP; one without the documented shape gives a 502."""
        try:
            status = int(answer["statusCode"])
            headers = {**(answer.get("headers") or {})}
            listed = [(name, str(value)) for name, value in headers.items()]
            for name, values in (answer.get("multiValueHeaders") or {}).items():
                listed = [pair for pair in listed if pair[0].lower() != name.lower()]
                listed += [(name, str(value)) for value in values]
            body = answer.get("body") or ""
            content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        except (TypeError, KeyError, ValueError, AttributeError, binascii.Error):
            return message(502, "Internal server error")
        return HttpAnswer(status, listed, content)


def message(status: int, text: str) -> HttpAnswer:
    """Return an answer in the gateway's own form."""
    return HttpAnswer(status, {"Content-Type": "application/json"}, json.dumps({"message": text}).encode())


def route_of(resource: str, method: str, operation: Mapping[str, Any]) -> Route:
    """Read one operation of a definition."""
    verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
    uri = operation["x-amazon-apigateway-integration"].get("uri", "")
    match = FUNCTION_OF.search(uri)
    return Route(verb, resource, path_pattern(resource), (match[1] or match[2]) if match else "")


def path_pattern(resource: str) -> re.Pattern[str]:
    """Turn a resource (`/plans/{name}`, `/{proxy+}`) into a pattern of the paths it serves."""
    literal, *rest = PARAMETER.split(resource)
    parts = [re.escape(literal)]
    for name, greedy, following in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        parts += [f"(?P<{name}>{'.+' if greedy else '[^/]+'})", re.escape(following)]
    return re.compile("".join(parts))


def binary_types_of(definition: Mapping[str, Any]) -> frozenset[str]:
    """Return the content types whose bodies travel in base64."""
    return frozenset(kind.lower() for kind in definition.get("x-amazon-apigateway-binary-media-types", ()))


def headers_of(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the request's headers under their usual spelling."""
    named = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        named["CONTENT_TYPE"] = environ["CONTENT_TYPE"]
    return {name.replace("_", "-").title(): value for name, value in named.items()}


def multiple(query: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return every value of every query parameter."""
    values: dict[str, list[str]] = {}
    for name, value in query:
        values.setdefault(name, []).append(value)
    return values


def text_of(body: bytes, *, is_binary: bool) -> str | None:
    """Return a body as the event carries it."""
    if not body:
        return None
    return base64.b64encode(body).decode("ascii") if is_binary else body.decode("utf-8", "replace")
