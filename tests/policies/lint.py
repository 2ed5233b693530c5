"""`python -m tests.policies.lint`: every policy that is deployed or recommended, by two linters.

parliament knows the grammar of policies; the reference knows what AWS has. Each found what the other passed
when errors were planted (`tests/packaging/test_policy_linters.py`).
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.policies import reference
from tests.policies.rendered import PARTITIONS, Policy, PolicyKind, deployed, samples

with warnings.catch_warnings():  # parliament imports pkg_resources, which warns that it is old
    warnings.simplefilter("ignore")
    import parliament


@dataclass(frozen=True, slots=True)
class Finding:
    """What parliament says: the name it has for it, a sentence, and what it is about."""

    issue: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """A finding of parliament that is none, and why; `says` is the beginning of its detail."""

    issue: str
    says: str
    kind: PolicyKind
    why: str

    def is_of(self, policy: Policy, found: Finding) -> bool:
        """Return whether this is a finding in a policy."""
        return (self.issue, self.kind) == (found.issue, policy.kind) and found.detail.startswith(self.says)


FALSE_ALARMS = (
    FalseAlarm(
        "MALFORMED",
        "Statement contains neither Resource nor NotResource",
        PolicyKind.TRUST,
        "a trust policy has no resource: it stands on one",
    ),
    FalseAlarm(
        "RESOURCE_MISMATCH",
        "",
        PolicyKind.IDENTITY,
        "it wants all resources of an action in one statement; here each has its own condition, and the "
        "reference is asked whether the policy as a whole has all",
    ),
)


def findings(policies: Iterable[Policy]) -> Iterator[str]:
    """Yield everything that either linter finds."""
    for policy in policies:
        yield from reference.findings(policy)
        yield from grammar_findings(policy)


def grammar_findings(policy: Policy) -> Iterator[str]:
    """Yield what parliament finds, without its false alarms."""
    for found in raw_findings(policy):
        if not any(alarm.is_of(policy, found) for alarm in FALSE_ALARMS):
            yield f"{policy.where}: {found.title} {found.detail}".rstrip()


def raw_findings(policy: Policy) -> Iterator[Finding]:
    """Yield all that parliament finds."""
    for each in parliament.analyze_policy_string(json.dumps(policy.document), policy.where).findings:
        told = parliament.enhance_finding(each)
        yield Finding(told.issue, told.title, str(told.detail or ""))


def main() -> int:
    """Print every finding; return the exit code."""
    found = sorted(set(findings([*(each for p in PARTITIONS for each in deployed(p)), *samples()])))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
