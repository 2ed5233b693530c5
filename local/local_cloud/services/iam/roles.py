"""Roles: moto keeps them, with their policies; here policies are compiled, and read anew when they change.

AWS: https://docs.aws.amazon.com/IAM/latest/APIReference/Welcome.html. Only the inline policies of roles are
judged; managed policies and permissions boundaries on a role are refused, since nothing would judge them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call, Handler, PassOn
from local_cloud.passing import lock_of, moto_backend
from local_cloud.services.iam.conditions import PolicyError
from local_cloud.services.iam.policies import Policy, read_policy

CHANGES = (
    "CreateRole",
    "DeleteRole",
    "DeleteRolePolicy",
    "PutRolePolicy",
    "UpdateAssumeRolePolicy",
)
UNREAD = ("AttachRolePolicy", "PutRolePermissionsBoundary")
NOTHING_ALLOWED = Policy(())


class Roles:
    """The stand-in for IAM: the roles of the account."""

    service = "iam"

    def __init__(self) -> None:
        self._compiled: dict[str, Policy] = {}

    def handlers(self) -> Mapping[str, Handler]:
        """Read policies anew after a change; refuse what is not judged."""
        return {**dict.fromkeys(CHANGES, self._change), **dict.fromkeys(UNREAD, _refuse)}

    def clear(self) -> None:
        """Forget what is compiled; moto's roles are moto's to reset."""
        self._compiled.clear()

    def add(self, name: str, trust: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> str:
        """Make a role with its inline policies, by name, and return its ARN.

        Raises:
            PolicyError: a policy has something that is not read here.
        """
        for document in (trust, *policies.values()):
            read_policy(document)
        with lock_of(self.service):
            role = _backend().create_role(name, json.dumps(trust), "/", None, "", [], "3600")
            for title, document in policies.items():
                role.put_policy(title, json.dumps(document))
            return str(role.arn)

    def policy_of(self, role_arn: str) -> Policy:
        """Return all that a role's policies say; a role that does not exist may do nothing."""
        found = self._compiled.get(role_arn)
        if found is None:
            role = _role(role_arn)
            texts = role.policies.values() if role else ()
            found = Policy(each for text in texts for each in read_policy(text).statements)
            self._compiled[role_arn] = found
        return found

    def trust_of(self, role_arn: str) -> Policy:
        """Return who may assume a role."""
        role = _role(role_arn)
        return read_policy(role.assume_role_policy_document) if role else NOTHING_ALLOWED

    def _change(self, call: Call, pass_on: PassOn) -> None:
        for name in ("PolicyDocument", "AssumeRolePolicyDocument"):
            try:
                if name in call.params:
                    read_policy(call.params[name])
            except PolicyError as error:
                raise AwsError("MalformedPolicyDocument", str(error)) from error
        pass_on()
        self.clear()


def _refuse(call: Call, _: PassOn) -> None:
    raise AwsError("NotImplemented", f"The local cloud judges no {call.operation}.", 501)


def _backend() -> Any:
    return moto_backend("iam")[ACCOUNT]["aws"]


def _role(role_arn: str) -> Any | None:
    found: Iterator[Any] = (role for role in _backend().roles.values() if role.arn == role_arn)
    return next(found, None)
