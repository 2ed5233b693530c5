"""Writes what CloudFormation is told to take kept resources into a new stack with.

`python -m deploy.kept TEMPLATE FOLDER PARAMETER=VALUE... -- NAME...` writes two files into the folder:
`template.json` has only the resources that bear these names, and `resources.json` says what each of them
is. An import may make nothing else:
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources.html.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from cfnlint.decode import cfn_yaml

NAMED_BY = {"AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName"}


def template_of(
    template: Mapping[str, Any], names: list[str], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """Return a template of just the resources that bear one of the names."""
    resources = {
        logical_id: each
        for logical_id, each in template["Resources"].items()
        if each["Type"] in NAMED_BY and _name(each, parameters) in names
    }
    return {"Resources": resources} | {key: template[key] for key in ("Parameters", "Conditions")}


def imported(template: Mapping[str, Any], parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what each resource of a template is, as CreateChangeSet wants it."""
    return [
        {
            "LogicalResourceId": logical_id,
            "ResourceType": each["Type"],
            "ResourceIdentifier": {NAMED_BY[each["Type"]]: _name(each, parameters)},
        }
        for logical_id, each in template["Resources"].items()
    ]


def _name(resource: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    [(function, text)] = resource["Properties"][NAMED_BY[resource["Type"]]].items()
    return Template(text).substitute(parameters) if function == "Fn::Sub" else parameters[text]


def main(arguments: list[str]) -> int:
    """Write both files."""
    split = arguments.index("--")
    source, folder, *given = arguments[:split]
    parameters = dict(each.split("=", 1) for each in given)
    template = template_of(cfn_yaml.load(source), arguments[split + 1 :], parameters)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / "template.json").write_text(json.dumps(template))
    (target / "resources.json").write_text(json.dumps(imported(template, parameters)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
