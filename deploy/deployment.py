"""What an operator wants deployed: read from the environment, and held against the app's own settings.

It asks nothing of AWS; `preflight` does that.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chalicelib.errors import InvalidInput, Problem
from chalicelib.plans.reading import load_document
from chalicelib.plans.values import PRIMARY
from chalicelib.settings import VAULTS, OffsiteVaultConfig, S3VaultConfig, Settings, read_settings

# As in the template's parameters.
STAGE = re.compile(r"[a-z][a-z0-9-]{0,15}")
LONGEST_VAULTS = 2000
_SETTINGS = [str(field.alias) for field in Settings.model_fields.values()]
# What the stack makes; an operator names the rest of what is required.
_MADE = {
    str(field.alias)
    for name, field in Settings.model_fields.items()
    if field.is_required() and name not in ("stage", "home_region", "vault_bucket")
}


def _variable(setting: str) -> str:
    """Return what a setting is called in the variables of a deployment."""
    return setting.removeprefix("FARSHORE_").removeprefix("AWS_")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend before a deployment (`stops`), or to know: the field, its value, and the remedy."""

    field: str
    what: str
    remedy: str
    stops: bool = True


@dataclass(frozen=True)
class Deployment:
    """A stage as the variables of the environment describe it."""

    variables: Mapping[str, str]

    @property
    def stage(self) -> str:
        """The name of the stage."""
        return self.variables.get("STAGE", "")

    @property
    def region(self) -> str:
        """The home region."""
        return self.variables.get("REGION", "")

    @property
    def stack(self) -> str:
        """The name of the home stack."""
        return self.variables.get("STACK") or f"farshore-{self.stage}"

    @property
    def table(self) -> str:
        """The name of the catalog's table."""
        return f"farshore-{self.stage}"

    @cached_property
    def document(self) -> str:
        """The text of the vaults document; empty without one.

        Raises:
            OSError: the file cannot be read.
        """
        path = self.variables.get("VAULTS")
        return Path(path).read_text().strip() if path else ""

    @cached_property
    def settings(self) -> Settings:
        """The settings that the functions will read.

        Raises:
            Misconfigured: there are faults; each is listed with the setting it is in.
        """
        named = {setting: self.variables.get(_variable(setting), "") for setting in _SETTINGS}
        made = dict.fromkeys(_MADE, "(made by the stack)")
        arns = ",".join(self.bucket_arns())
        return read_settings(named | made | {VAULTS: self.document, "FARSHORE_OTHER_BUCKETS": arns})

    def bucket_arns(self, partition: str = "aws") -> list[str]:
        """Return the ARNs of the buckets of the other S3 vaults, as far as the document can be read."""
        try:
            document: Any = load_document(self.document, is_yaml=False) if self.document else {}
        except InvalidInput:
            return []
        configs = [each for name, each in document.items() if name != PRIMARY] if _is(document) else []
        buckets = [each["bucket"] for each in configs if _is(each) and isinstance(each.get("bucket"), str)]
        return [f"arn:{partition}:s3:::{bucket}" for bucket in buckets]

    @property
    def s3_vaults(self) -> dict[str, S3VaultConfig]:
        """The other vaults in S3."""
        return {
            name: each
            for name, each in self.settings.vaults.items()
            if name != PRIMARY and isinstance(each, S3VaultConfig)
        }

    @property
    def offsite_vaults(self) -> dict[str, OffsiteVaultConfig]:
        """The vaults in other clouds."""
        return {
            name: each for name, each in self.settings.vaults.items() if isinstance(each, OffsiteVaultConfig)
        }

    def faults(self) -> list[Finding]:
        """Return what is wrong with the variables and the document, before anything is asked of AWS."""
        found = []
        if not STAGE.fullmatch(self.stage):
            right = "1 to 16 lower-case letters, digits and -, beginning with a letter"
            found.append(Finding("STAGE", f"{self.stage!r} is no name of a stage", f"write {right}"))
        if len(self.document) > LONGEST_VAULTS:
            what = f"has {len(self.document)} characters; a stack takes {LONGEST_VAULTS}"
            found.append(Finding("VAULTS", what, "leave out blanks and `primary`"))
        try:
            _ = self.settings
        except InvalidInput as fault:
            found += map(_finding, fault.problems)
        return found


def _is(value: object) -> bool:
    return isinstance(value, Mapping)


def _finding(problem: Problem) -> Finding:
    _, setting, *place = problem.pointer.split("/")
    field = _variable(setting)
    where = f"{field} /{'/'.join(place)}" if place else field
    what = "is missing" if problem.value is None else f"{problem.value!r} is not right"
    return Finding(where, what, f"expected: {problem.expected}")
