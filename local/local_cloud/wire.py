"""Parses the parameters of requests, and renders results and errors, in the protocol of the service.

The protocols are AWS's (https://smithy.io/2.0/aws/protocols/), read and written by moto's parsers and
serialisers from botocore's models.
"""

import json
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any
from wsgiref.types import WSGIEnvironment

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationNotFoundError
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import MultiDict

from local_cloud.call import AwsError
from local_cloud.recognise import LocalRequest, Target
from local_cloud.server import HttpAnswer

PLAIN = {"Content-Type": "text/plain"}
# Faults may have any code; moto warns of those that the service's model lacks.
warnings.filterwarnings("ignore", r"Exception\(PlainError\)", UserWarning)


class PlainError(ServiceException):
    """An error of ours; of an error class of its own, moto would take the module for a service."""


@cache
def model_of(service: str, operation: str) -> OperationModel:
    """Return botocore's model of an operation; one it does not know gets an empty model, good for errors."""
    model: ServiceModel = get_service_model(service)
    try:
        known: OperationModel = model.operation_model(operation)
    except OperationNotFoundError:
        return OperationModel({}, model)
    return known


def protocol_of(target: Target, environ: WSGIEnvironment) -> str:
    """Return the protocol this request is made in; some services speak two."""
    model = model_of(target.service, target.operation)
    return str(determine_request_protocol(model.service_model, environ.get("CONTENT_TYPE", "")))


def parse(target: Target, environ: WSGIEnvironment) -> Mapping[str, Any]:
    """Read the parameters as boto3 would take them; a request can be read again and again."""
    environ["wsgi.input"].seek(0)
    request = LocalRequest(environ)
    protocol = protocol_of(target, environ)
    parser = PROTOCOL_PARSERS[protocol](model_of(target.service, target.operation))
    parsed: dict[str, Any] = parser.parse(
        {
            "method": request.method,
            "values": MultiDict() if protocol == "json" else request.values,
            "headers": request.headers,
            "body": environ["wsgi.input"].getvalue(),
            "url_path": request.path,
            "url_params": target.uri_params,
        }
    )
    return {name: value for name, value in parsed.items() if value is not None}


def parse_names(target: Target, environ: WSGIEnvironment) -> Mapping[str, Any]:
    """Read the parameters for one who looks only at the names in them: much cheaper, where they are JSON."""
    if "HTTP_X_AMZ_TARGET" not in environ:
        return parse(target, environ)
    try:
        named = json.loads(environ["wsgi.input"].getvalue() or b"{}")
    except ValueError:
        return {}
    return named if isinstance(named, dict) else {}


def render_result(target: Target, environ: WSGIEnvironment, result: Mapping[str, Any]) -> HttpAnswer:
    """Render a result, which has the shape that boto3 shows."""
    return _serialize(target, environ, result)


def render_error(target: Target, environ: WSGIEnvironment, error: AwsError) -> HttpAnswer:
    """Render an error; for a service that botocore does not know, in plain text."""
    try:
        answer = _serialize(target, environ, PlainError(error.code, error.message))
    except (UnknownServiceError, NotImplementedError):
        return HttpAnswer(error.status, PLAIN, str(error).encode())
    return HttpAnswer(error.status, answer.headers, answer.body)


def _serialize(target: Target, environ: WSGIEnvironment, result: object) -> HttpAnswer:
    serializer = get_serializer_class(target.service, protocol_of(target, environ))
    written = serializer(model_of(target.service, target.operation)).serialize(result)
    body = written["body"]
    return HttpAnswer(
        int(written["status_code"]),
        {name: str(value) for name, value in written["headers"].items()},
        body.encode() if isinstance(body, str) else body,
    )
