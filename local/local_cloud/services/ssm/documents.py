"""SSM documents: what a command runs. `AWS-RunShellScript` is here, users' own Command documents are moto's.

Supported is what runs on Linux: schema 1.2 and 2.2 with `aws:runShellScript`, parameters, a precondition on
the platform. Anything else in a document is refused with InvalidDocument rather than left out silently.
Sources: https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-schemas-features.html,
https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html, and
for the substitution of parameters aws/amazon-ssm-agent, agent/framework/docparser/parameters/parameters.go.

moto: keeps the users' documents, and has none of AWS's own.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from local_cloud.call import AwsError
from local_cloud.passing import moto_backend

SHELL = "aws:runShellScript"
DEFAULT_TIMEOUT = "3600"
TIMEOUT_PATTERN = "([1-9][0-9]{0,4})|(1[0-6][0-9]{4})|(17[0-1][0-9]{3})|(172[0-7][0-9]{2})|(172800)"
RUN_SHELL_SCRIPT: Mapping[str, Any] = {
    "schemaVersion": "1.2",
    "description": "Run a shell script or specify the commands to run.",
    "parameters": {
        "commands": {
            "type": "StringList",
            "description": "(Required) Specify a shell script or a command to run.",
            "minItems": 1,
            "displayType": "textarea",
        },
        "workingDirectory": {
            "type": "String",
            "default": "",
            "description": "(Optional) The path to the working directory on your instance.",
            "maxChars": 4096,
        },
        "executionTimeout": {
            "type": "String",
            "default": DEFAULT_TIMEOUT,
            "description": "(Optional) The time in seconds for a command to complete before it is "
            "considered to have failed. Default is 3600 (1 hour). Maximum is 172800 (48 hours).",
            "allowedPattern": TIMEOUT_PATTERN,
        },
    },
    "runtimeConfig": {
        SHELL: {
            "properties": [
                {
                    "id": "0.aws:runShellScript",
                    "runCommand": "{{ commands }}",
                    "workingDirectory": "{{ workingDirectory }}",
                    "timeoutSeconds": "{{ executionTimeout }}",
                }
            ]
        }
    },
}
OWNED_BY_AWS: Mapping[str, Mapping[str, Any]] = {"AWS-RunShellScript": RUN_SHELL_SCRIPT}


@dataclass(frozen=True, slots=True)
class Step:
    """One script of a document, its parameters filled in."""

    name: str
    script: str
    working_directory: str
    timeout: timedelta


def find_document(account: str, region: str, name: str, version: str) -> Mapping[str, Any]:
    """Return the content of the document `name`; `version` is a number, `$DEFAULT` or `$LATEST`."""
    if name in OWNED_BY_AWS:
        if version not in ("$DEFAULT", "$LATEST", "1"):
            raise AwsError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
        return OWNED_BY_AWS[name]
    versions = moto_backend("ssm")[account][region]._documents.get(name)
    if versions is None:
        raise AwsError("InvalidDocument", f"Document with name {name} does not exist.")
    document = versions.find(None if version == "$DEFAULT" else version, strict=False)
    if document is None:
        raise AwsError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
    if document.document_type != "Command":
        raise AwsError(
            "InvalidDocument", f"Document {name} is of type {document.document_type}, not Command."
        )
    content: Mapping[str, Any] = document.content_json
    return content


def plan_steps(document: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> tuple[Step, ...]:
    """Return the scripts `document` runs with the parameters `given`, in order.

    Raises: AwsError InvalidParameters or InvalidDocument.
    """
    values = _parameters(document.get("parameters") or {}, given)
    steps = tuple(_step(name, _fill(inputs, values)) for name, inputs in _scripts(document))
    if not steps:
        raise AwsError("UnsupportedPlatformType", "The document has no step for the platform type Linux.")
    return steps


def _scripts(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match str(document.get("schemaVersion")):
        case "1.2":
            for action, config in document["runtimeConfig"].items():
                _must_be_shell(action)
                for inputs in config["properties"]:
                    yield action, inputs
        case "2.2":
            for step in document["mainSteps"]:
                if _is_for_linux(step):
                    _must_be_shell(step["action"])
                    yield step["name"], step["inputs"]
        case other:
            raise AwsError("InvalidDocument", f"Documents of schema version {other} cannot be run here.")


def _is_for_linux(step: Mapping[str, Any]) -> bool:
    known = {"action", "name", "inputs", "precondition", "description", "maxAttempts"}
    if unknown := step.keys() - known:
        raise AwsError("InvalidDocument", f"The step property {sorted(unknown)[0]} is not supported here.")
    match step.get("precondition") or {}:
        case {"StringEquals": ["platformType", platform]}:
            return bool(platform == "Linux")
        case {}:
            return True
    raise AwsError("InvalidDocument", "Only preconditions on platformType are supported here.")


def _must_be_shell(action: str) -> None:
    if action != SHELL:
        raise AwsError("InvalidDocument", f"The plugin {action} is not supported here.")


def _step(name: str, inputs: Mapping[str, Any]) -> Step:
    seconds = str(inputs.get("timeoutSeconds") or DEFAULT_TIMEOUT)
    if not re.fullmatch(TIMEOUT_PATTERN, seconds):
        raise AwsError("InvalidParameters", f"timeoutSeconds is {seconds}; it must be 1 to 172800.")
    return Step(
        name=name,
        script="\n".join(_lines(inputs.get("runCommand"))) + "\n",
        working_directory=str(inputs.get("workingDirectory") or ""),
        timeout=timedelta(seconds=int(seconds)),
    )


def _lines(command: Any) -> Iterator[str]:
    if isinstance(command, str):
        yield command
    elif isinstance(command, list):
        for element in command:
            yield from _lines(element)


def _parameters(declared: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if unknown := given.keys() - declared.keys():
        raise AwsError("InvalidParameters", f"Parameter {sorted(unknown)[0]} is not defined in the document.")
    return {name: _parameter(name, rules, given.get(name)) for name, rules in declared.items()}


def _parameter(name: str, rules: Mapping[str, Any], given: Sequence[str] | None) -> Any:
    if given is None:
        if "default" not in rules:
            raise AwsError("InvalidParameters", f"Parameter {name} requires a value.")
        return rules["default"]
    values = list(given)
    is_list = rules["type"] == "StringList"
    if not is_list and len(values) != 1:
        raise AwsError("InvalidParameters", f"Parameter {name} takes one value, not {len(values)}.")
    for broken in _broken_rules(rules, values, is_list):
        raise AwsError("InvalidParameters", f"Parameter {name}: {broken}")
    return values if is_list else values[0]


def _broken_rules(rules: Mapping[str, Any], values: Sequence[str], is_list: bool) -> Iterator[str]:
    if is_list and not int(rules.get("minItems", 0)) <= len(values) <= int(
        rules.get("maxItems", len(values))
    ):
        yield f"{len(values)} items are not allowed."
    for value in values:
        if (pattern := rules.get("allowedPattern")) and not re.fullmatch(pattern, value):
            yield f"{value} does not match the pattern {pattern}."
        if (allowed := rules.get("allowedValues")) and value not in [str(each) for each in allowed]:
            yield f"{value} is not one of {', '.join(str(each) for each in allowed)}."
        if not int(rules.get("minChars", 0)) <= len(value) <= int(rules.get("maxChars", len(value))):
            yield f"a value of {len(value)} characters is not allowed."


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Replace `{{ name }}`: alone in a string by the value itself, within a longer one by its text."""
    match template:
        case str():
            alone = re.fullmatch(r"{{\s*([a-zA-Z0-9]+)\s*}}", template)
            if alone and alone[1] in values:
                return values[alone[1]]
            return re.sub(r"{{\s*([a-zA-Z0-9]+)\s*}}", lambda found: _as_text(found, values), template)
        case list():
            return [_fill(element, values) for element in template]
        case dict():
            return {key: _fill(element, values) for key, element in template.items()}
    return template


def _as_text(found: re.Match[str], values: Mapping[str, Any]) -> str:
    if found[1] not in values:
        return found[0]
    value = values[found[1]]
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("$$", "$")  # the agent does so, for users who once escaped a dollar sign


def about_document(name: str) -> dict[str, Any]:
    """Return the answer of GetDocument and DescribeDocument, in one, for a document of AWS."""
    content = OWNED_BY_AWS[name]
    about = {
        "Name": name,
        "Owner": "Amazon",
        "DocumentVersion": "1",
        "DefaultVersion": "1",
        "Status": "Active",
        "DocumentType": "Command",
        "DocumentFormat": "JSON",
        "SchemaVersion": content["schemaVersion"],
        "Description": content["description"],
        "PlatformTypes": ["Linux", "MacOS"],
    }
    parameters = [
        {"Name": key, "Type": rules["type"], "Description": rules["description"]}
        | ({"DefaultValue": rules["default"]} if "default" in rules else {})
        for key, rules in content["parameters"].items()
    ]
    return about | {"Parameters": parameters, "Content": json.dumps(content)}
