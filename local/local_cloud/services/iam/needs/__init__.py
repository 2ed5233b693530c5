"""Which actions on which resources IAM asks for at each call, with the context of each resource.

One module for EC2, one for S3, one for all others. Each rule follows the service authorization reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html:
an action is asked for at every resource that the call touches, and a resource that the call will make is
named `*`. An operation that has no rule can only be denied: no one is let through unjudged.
"""

from collections.abc import Iterable, Mapping

from moto.core.utils import get_service_model

from local_cloud.call import Call
from local_cloud.services.iam.needs import ec2, others, s3
from local_cloud.services.iam.needs.rules import Rule
from local_cloud.services.iam.policies import Need

__all__ = ["action_of", "needs_of", "rule_of"]

PREFIXES = {"monitoring": "cloudwatch", "email": "ses"}
"""Prefixes of actions that are not the name that requests are signed for."""
RULES: Mapping[tuple[str, str], Rule] = {
    **{("ec2", operation): rule for operation, rule in ec2.RULES.items()},
    **{("s3", operation): rule for operation, rule in s3.RULES.items()},
    **others.RULES,
}


def rule_of(call: Call) -> Rule | None:
    """Return the rule of a call's operation, if there is one."""
    return RULES.get((call.service, call.operation))


def needs_of(call: Call, rule: Rule) -> Iterable[Need]:
    """Return all that a call needs, by its rule."""
    return rule(call)


def action_of(call: Call) -> str:
    """Return the action that most operations ask for: the service's prefix and the operation's name."""
    signed_for = get_service_model(call.service).signing_name
    return f"{PREFIXES.get(signed_for, signed_for)}:{call.operation}"
