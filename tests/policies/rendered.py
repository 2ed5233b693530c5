"""Every policy of the templates as it would be deployed in a partition, with all or none of the options.

Policies are found by the names that CloudFormation has for them, in whatever resource they stand, so a new
one is checked without being listed here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from local_cloud.cloudformation.intrinsics import NOTHING, TemplateError, resolve
from local_cloud.cloudformation.template import read_template

CHECKOUT = Path(__file__).parents[2]
HOME, DR = CHECKOUT / "build" / "package" / "sam.json", CHECKOUT / ".chalice" / "dr-region.yaml"
SAMPLES = CHECKOUT / "docs" / "policies"
ACCOUNT = "123456789012"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of AWS, two of its regions, and the domain of its services.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/pseudo-parameter-reference.html
    """

    name: str
    home: str
    away: str
    suffix: str = "amazonaws.com"


PARTITIONS = (
    Partition("aws", "eu-central-1", "eu-west-1"),
    Partition("aws-cn", "cn-north-1", "cn-northwest-1", "amazonaws.com.cn"),
    Partition("aws-us-gov", "us-gov-west-1", "us-gov-east-1"),
)


class PolicyKind(StrEnum):
    """Who a policy is attached to: a role, a resource, or a role as whom it trusts."""

    IDENTITY = "identity"
    RESOURCE = "resource"
    TRUST = "trust"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, and where it is written."""

    where: str
    kind: PolicyKind
    document: Mapping[str, Any]


ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Serverless::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
}
# The resources whose `Ref` is their ARN.
REFERRED_BY_ARN = ("AWS::SNS::Topic",)


@dataclass(frozen=True, slots=True)
class Rendering:
    """One template in one region; `parameters` override its defaults."""

    template: Mapping[str, Any]
    partition: Partition
    region: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def ref(self, name: str) -> Any:
        """Return what `Ref` of a name is."""
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.region,
            "AWS::Partition": self.partition.name,
            "AWS::URLSuffix": self.partition.suffix,
            "AWS::StackName": "farshore",
            "AWS::NoValue": NOTHING,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.template["Resources"]:
            by_arn = self.template["Resources"][name]["Type"] in REFERRED_BY_ARN
            return self.attribute(name, "Arn") if by_arn else name.lower()
        parameter = self.template["Parameters"][name]
        value = self.parameters.get(name, parameter.get("Default", "some"))
        return value.split(",") if parameter["Type"] == "CommaDelimitedList" else value

    def attribute(self, resource: str, name: str) -> Any:
        """Return an attribute of a resource: policies use ARNs only."""
        if not name.endswith("Arn"):
            return resource.lower()
        tail = ARNS.get(type_ := self.template["Resources"][resource]["Type"])
        if tail is None:
            raise TemplateError(f"nobody has said here what the ARN of a {type_} is")
        filled = tail.format(region=self.region, account=ACCOUNT, name=resource.lower())
        return f"arn:{self.partition.name}:{filled}"

    def condition(self, name: str) -> bool:
        """Return whether a condition of the template is true."""
        return bool(resolve(self.template["Conditions"][name], self))

    def policies(self, where: str) -> Iterator[Policy]:
        """Yield every policy."""
        for name, resource in self.template["Resources"].items():
            wanted = resource.get("Condition")
            if wanted is None or self.condition(wanted):
                properties = resource.get("Properties", {})
                kind = (
                    PolicyKind.IDENTITY if resource["Type"].startswith("AWS::IAM::") else PolicyKind.RESOURCE
                )
                for document, of_kind in _documents(properties, kind):
                    yield Policy(f"{where} {name}", of_kind, resolve(document, self))


def _documents(value: Any, kind: PolicyKind) -> Iterator[tuple[Any, PolicyKind]]:
    """Yield the policy documents anywhere in a resource's properties."""
    if isinstance(value, list):
        for each in value:
            yield from _documents(each, kind)
    if isinstance(value, Mapping):
        for name, each in value.items():
            match name:
                case "AssumeRolePolicyDocument":
                    yield each, PolicyKind.TRUST
                case "PolicyDocument" | "KeyPolicy" | "ResourcePolicy":
                    yield each, kind
                case _:
                    yield from _documents(each, kind)


def renderings(partition: Partition) -> Iterator[tuple[str, Rendering]]:
    """Yield both templates, the home region's with none and with all of its options."""
    key = f"arn:{partition.name}:kms:{partition.home}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    options = {
        "OtherVaultBucketArns": f"arn:{partition.name}:s3:::away,arn:{partition.name}:s3:::far",
        "VaultKeyArn": key,
        "SecretKeyArns": key,
        "CommandTag": "allowed",
    }
    home, away = read_template(HOME), read_template(DR)
    yield "sam.json", Rendering(home, partition, partition.home)
    yield "sam.json with all options", Rendering(home, partition, partition.home, options)
    yield "dr-region.yaml", Rendering(away, partition, partition.away, {"HomeRegion": partition.home})


def deployed(partition: Partition) -> Iterator[Policy]:
    """Yield every policy of both templates."""
    for where, rendering in renderings(partition):
        yield from rendering.policies(where)


def samples() -> Iterator[Policy]:
    """Yield the sample policies of the documentation."""
    for path in sorted(SAMPLES.glob("*.json")):
        yield Policy(path.name, PolicyKind.IDENTITY, json.loads(path.read_text()))
