"""Checks SSM's inputs against the constraints that AWS publishes in the API's own model.

Neither botocore nor moto enforces them: lengths, ranges, patterns and enumerations
(https://docs.aws.amazon.com/systems-manager/latest/APIReference/CommonErrors.html, ValidationException).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import Shape
from moto.core.utils import get_service_model

from local_cloud.call import AwsError


def check_constraints(operation: str, params: Mapping[str, Any]) -> None:
    """Raise ValidationException naming every value of `params` that the model does not allow."""
    shape = get_service_model("ssm").operation_model(operation).input_shape
    faults = [] if shape is None else list(_faults(shape, params, ""))
    if faults:
        plural = "s" if len(faults) > 1 else ""
        raise AwsError(
            "ValidationException", f"{len(faults)} validation error{plural} detected: {'; '.join(faults)}"
        )


def _faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    for satisfied, constraint in _constraints(shape, value):
        if not satisfied:
            yield f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {constraint}"
    for inner, member, where in _members(shape, value, path):
        yield from _faults(inner, member, where)


def _constraints(shape: Any, value: Any) -> Iterator[tuple[bool, str]]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(value, str | list):
        yield least is None or len(value) >= least, f"have length greater than or equal to {least}"
        yield most is None or len(value) <= most, f"have length less than or equal to {most}"
    elif isinstance(value, int) and not isinstance(value, bool):
        yield least is None or value >= least, f"have value greater than or equal to {least}"
        yield most is None or value <= most, f"have value less than or equal to {most}"
    if isinstance(value, str):
        pattern, allowed = _in_python(shape.metadata.get("pattern", "")), getattr(shape, "enum", None)
        yield (
            not pattern or bool(re.fullmatch(pattern, value)),
            f"satisfy regular expression pattern: {pattern}",
        )
        yield not allowed or value in allowed, f"satisfy enum value set: [{', '.join(allowed or ())}]"


def _members(shape: Any, value: Any, path: str) -> Iterator[tuple[Shape, Any, str]]:
    match shape.type_name, value:
        case "structure", Mapping():
            for name, member in value.items():
                if name in shape.members:
                    yield shape.members[name], member, f"{path}.{_camel(name)}".lstrip(".")
        case "list", list():
            for number, member in enumerate(value, start=1):
                yield shape.member, member, f"{path}.{number}.member"
        case "map", Mapping():
            for name, member in value.items():
                yield shape.value, member, f"{path}.{name}.member"


def _in_python(pattern: str) -> str:
    """Return a Java pattern in Python's words: the classes of letters, digits and separators differ."""
    return pattern.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\d").replace(r"\p{Z}", r"\s")


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
