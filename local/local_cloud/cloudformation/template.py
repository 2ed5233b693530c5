"""Deploys a packaged CloudFormation template: parameters, conditions, and resources in dependency order.

It reads what `chalice package` writes (SAM, JSON) and plain CloudFormation (JSON or YAML). What a resource
becomes is in `resources.py`. A type that is not known there is an error: nothing in a template is silently
ignored.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

import yaml

from local_cloud.call import ACCOUNT
from local_cloud.cloudformation.intrinsics import NOTHING, TemplateError, resolve
from local_cloud.cloudformation.resources import CREATORS, KNOWN_AND_IGNORED, Created, StackPlace, Workshop


@dataclass(frozen=True, slots=True)
class StackPlan:
    """A stack to be: a template's file, its region, its parameters."""

    name: str
    template: Path
    region: str
    parameters: Mapping[str, str] = field(default_factory=dict)


class CloudFormationLoader(yaml.SafeLoader):
    """Reads YAML with CloudFormation's short forms (`!Ref`, `!GetAtt`, `!Sub` ...)."""


def _short_form(loader: CloudFormationLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    """Turn `!Name value` into `{"Fn::Name": value}`."""
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    match node:
        case yaml.ScalarNode():
            return {name: loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {name: loader.construct_sequence(node, deep=True)}
        case yaml.MappingNode():
            return {name: loader.construct_mapping(node, deep=True)}
    raise TemplateError(f"!{suffix} is written in a way that is not read here")


CloudFormationLoader.add_multi_constructor("!", _short_form)


def read_template(path: Path) -> Mapping[str, Any]:
    """Return a template, JSON or YAML by its suffix; the result is cached and must not be changed."""
    return parse_template(path, path.read_text())


@lru_cache(8)
def parse_template(path: Path, text: str) -> Mapping[str, Any]:
    """Parse a template's text: YAML's parser takes longer over one than all of its tables take to make."""
    document = json.loads(text) if path.suffix == ".json" else yaml.load(text, CloudFormationLoader)  # noqa: S506  a SafeLoader
    if not isinstance(document, dict) or "Resources" not in document:
        raise TemplateError(f"{path} is no template: it has no Resources")
    return document


def fits(parameter: Mapping[str, Any], value: Any) -> bool:
    """Return whether a parameter takes a value.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
    """
    if parameter["Type"] == "Number":
        return bool(parameter.get("MinValue", -inf) <= float(value) <= parameter.get("MaxValue", inf))
    return re.fullmatch(parameter.get("AllowedPattern", "(?s:.*)"), str(value)) is not None and parameter.get(
        "MinLength", 0
    ) <= len(str(value)) <= parameter.get("MaxLength", inf)


class Stack:
    """One deployed stack; resources are made when something first needs them."""

    def __init__(self, plan: StackPlan, workshop: Workshop) -> None:
        self.plan = plan
        self._workshop = workshop
        self._document = read_template(plan.template)
        self._parameters = self._take_parameters()
        self._created: dict[str, Created] = {}
        self._being_made: list[str] = []

    def deploy(self) -> None:
        """Create every resource whose condition is true, if the template's rules allow it."""
        for rule, declared in self._document.get("Rules", {}).items():
            for assertion in declared["Assertions"]:
                if not resolve(assertion["Assert"], self):
                    why = assertion["AssertDescription"]
                    raise TemplateError(f"{self.plan.template.name}: {rule} is broken: {why}")
        for name in self._document["Resources"]:
            if self._is_wanted(name):
                self._make(name)

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs."""
        wanted = self._document.get("Outputs", {})
        return {name: resolve(output["Value"], self) for name, output in wanted.items()}

    def ref(self, name: str) -> Any:
        """Return what `Ref` of a name is."""
        if name in self._parameters:
            return self._parameters[name]
        if name in self._document["Resources"]:
            return self._make(name).ref
        stack = f"stack/{self.plan.name}/local"
        pseudo: dict[str, object] = {
            "AWS::StackId": f"arn:aws:cloudformation:{self.plan.region}:{ACCOUNT}:{stack}",
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.plan.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.plan.name,
            "AWS::NoValue": NOTHING,
        }
        if name not in pseudo:
            raise TemplateError(f"{self.plan.template.name}: nothing is called {name}")
        return pseudo[name]

    def attribute(self, resource: str, name: str) -> Any:
        """Return an attribute of a resource."""
        attributes = self._make(resource).attributes
        if name not in attributes:
            raise TemplateError(f"{self.plan.template.name}: the local cloud knows no {resource}.{name}")
        return attributes[name]

    def condition(self, name: str) -> bool:
        """Return whether a condition is true."""
        return bool(resolve(self._document["Conditions"][name], self))

    def _take_parameters(self) -> dict[str, Any]:
        """Return the value of every declared parameter: the plan's, or its default."""
        declared = self._document.get("Parameters", {})
        if unknown := sorted(self.plan.parameters.keys() - declared.keys()):
            raise TemplateError(f"{self.plan.template.name} has no parameter {', '.join(unknown)}")
        values = {}
        for name, parameter in declared.items():
            value = self.plan.parameters.get(name, parameter.get("Default"))
            if value is None:
                raise TemplateError(f"{self.plan.template.name} needs the parameter {name}")
            if "AllowedValues" in parameter and value not in parameter["AllowedValues"]:
                raise TemplateError(
                    f"{self.plan.template.name}: {name} must be one of {parameter['AllowedValues']}"
                )
            if not fits(parameter, value):
                raise TemplateError(f"{self.plan.template.name}: {name}={value!r} is not what it declares")
            is_list = parameter["Type"] == "CommaDelimitedList"
            values[name] = value.split(",") if is_list else value
        return values

    def _is_wanted(self, name: str) -> bool:
        condition = self._document["Resources"][name].get("Condition")
        return condition is None or self.condition(condition)

    def _make(self, name: str) -> Created:
        """Create a resource and what it needs, once."""
        if name in self._created:
            return self._created[name]
        if name in self._being_made:
            circle = " -> ".join([*self._being_made, name])
            raise TemplateError(f"{self.plan.template.name}: resources need each other in a circle: {circle}")
        resource = self._document["Resources"].get(name)
        if resource is None:
            raise TemplateError(f"{self.plan.template.name}: there is no resource {name}")
        kind, place = resource["Type"], StackPlace(self.plan.name, self.plan.region, name)
        if kind in KNOWN_AND_IGNORED:
            created = KNOWN_AND_IGNORED[kind](place)
        elif kind in CREATORS:
            self._being_made.append(name)
            properties = resolve(resource.get("Properties", {}), self)
            created = CREATORS[kind](self._workshop, place, properties)
            self._being_made.pop()
        else:
            raise TemplateError(f"{self.plan.template.name}: the local cloud cannot make {name}, a {kind}")
        self._created[name] = created
        return created
