"""Judges calls: whether the policies of who calls, and of what is called, allow all that a call needs.

As https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html says for one
account: an explicit denial wins; otherwise one policy has to allow, the role's or the resource's. A key's own
policy must allow too, or leave it to the account
(https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html). The operator is an
administrator: only a resource's policy can deny anything to them.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from local_cloud.call import ACCOUNT, AwsError, Call
from local_cloud.passing import moto_backend
from local_cloud.services.iam.conditions import Context
from local_cloud.services.iam.needs import action_of, needs_of, rule_of
from local_cloud.services.iam.policies import SILENCE, Effect, Need, Policy, Verdict, read_policy
from local_cloud.services.iam.refusals import denied
from local_cloud.services.iam.roles import Roles
from local_cloud.services.iam.sessions import OPERATOR, Session, Sessions

ROOT = (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
Grant = tuple[str, str, str]
"""A role's ARN, the Sid of a statement, an action."""
OnSpoiled = Callable[[str, str, str], None]
"""Is called with an operation, with what will end in error, and with the reason."""


class Authority:
    """Judges by the roles' policies as they are now, and notes which of their grants were needed."""

    def __init__(self, sessions: Sessions, roles: Roles) -> None:
        self._sessions = sessions
        self._roles = roles
        self.used: set[Grant] = set()
        """The grants that allowed something."""
        self.denials: set[str] = set()
        """What was denied to roles, in IAM's words."""
        self.on_spoiled: list[OnSpoiled] = []

    def judges(self, service: str, access_key: str | None) -> bool:
        """Return whether calls of a caller to a service may be denied at all."""
        session = self._sessions.get(access_key)
        return service in POLICIES or session is None or session.role_arn is not None

    def check(self, call: Call) -> None:
        """Refuse a call that needs what its caller may not do.

        Raises:
            AwsError: the denial, in the words of the service.
        """
        session = self._sessions.get(call.access_key) or OPERATOR
        rule = rule_of(call)
        if session.role_arn is None:
            if rule is not None and call.service in POLICIES:
                self._check_all(session, call, tuple(needs_of(call, rule)))
        elif rule is not None:
            self._check_all(session, call, needs_of(call, rule))
        else:
            self._refuse_unruled(session, call)

    def may(self, session: Session, need: Need, region: str) -> str | None:
        """Return why a session may not do something, or None where it may."""
        context = _context_of(session, region)
        of_resource = _resource_policy(need)
        theirs = SILENCE if of_resource is None else _for(of_resource, session).judge(need, context)
        if theirs.effect is Effect.DENY:
            return _why(session, need, "with an explicit deny in a resource-based policy")
        if session.role_arn is None:
            return None
        own = self._roles.policy_of(session.role_arn).judge(need, context)
        if own.effect is Effect.DENY:
            return _why(session, need, "with an explicit deny in an identity-based policy")
        if theirs.effect is Effect.ALLOW:
            return None
        if need.action.startswith("kms:") and not _left_to_account(of_resource, need, context):
            return _why(session, need, f"because no resource-based policy allows the {need.action} action")
        if own.effect is Effect.ALLOW:
            self._note(session, need, own)
            return None
        return _why(session, need, f"because no identity-based policy allows the {need.action} action")

    def role_may(self, role_arn: str, name: str, need: Need, region: str) -> str | None:
        """Return why a session of a role may not do something, or None where it may."""
        return self.may(Session("", "", None, role_arn, name), need, region)

    def service_may(self, service: str, need: Need) -> bool:
        """Return whether a resource's own policy lets an AWS service do something."""
        policy = _resource_policy(need)
        return policy is not None and _allows_service(policy, service, need)

    def service_may_assume(self, service: str, role_arn: str) -> bool:
        """Return whether a role lets an AWS service act in its name."""
        need = Need("sts:AssumeRole", "*", {"aws:sourceaccount": ACCOUNT})
        return _allows_service(self._roles.trust_of(role_arn), service, need)

    def clear(self) -> None:
        """Forget which grants were needed, and what was denied."""
        self.used.clear()
        self.denials.clear()

    def _check_all(self, session: Session, call: Call, needs: Any) -> None:
        for need in needs:
            if why := self.may(session, need, call.region):
                self.denials.add(why)
                if not need.spoils:
                    raise denied(call.service, why, need)
                for spoil in self.on_spoiled:
                    spoil(call.operation, need.spoils, "Given key ID is not accessible")

    def _refuse_unruled(self, session: Session, call: Call) -> None:
        """Refuse an operation that has no rule; if a policy may allow it, that is a gap here."""
        need = Need(action_of(call), "*")
        policy = self._roles.policy_of(session.role_arn or "")
        if policy.allows_everything:
            return
        if policy.of_action(need.action):
            why = f"The local cloud does not know what IAM asks for at {call.service}:{call.operation}."
            raise AwsError("NotImplemented", why, 501)
        why = _why(session, need, f"because no identity-based policy allows the {need.action} action")
        self.denials.add(why)
        raise denied(call.service, why, need)

    def _note(self, session: Session, need: Need, verdict: Verdict) -> None:
        if session.role_arn and verdict.statement:
            self.used.add((session.role_arn, verdict.statement.sid, need.action))


@lru_cache(1024)
def _context_of(session: Session, region: str) -> Context:
    """Return what the context of every call has: who calls, from where, for which region.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html. The loopback
    interface stands for TLS.
    """
    return {
        "aws:principalaccount": ACCOUNT,
        "aws:principalarn": session.role_arn or session.arn,
        "aws:principaltype": "AssumedRole" if session.role_arn else "User",
        "aws:principalisawsservice": "false",
        "aws:requestedregion": region,
        "aws:resourceaccount": ACCOUNT,
        "aws:securetransport": "true",
        "aws:sourceip": "127.0.0.1",
        "aws:viaawsservice": "false",
    }


@lru_cache(1024)
def _for(policy: Policy, session: Session) -> Policy:
    """Return the part of a resource's policy that is about a session."""
    return policy.for_principal("AWS", tuple(filter(None, (session.arn, session.role_arn))))


def _allows_service(policy: Policy, service: str, need: Need) -> bool:
    context = {"aws:securetransport": "true", "aws:principalisawsservice": "true"}
    return policy.for_principal("Service", (service,)).judge(need, context).effect is Effect.ALLOW


def _left_to_account(policy: Policy | None, need: Need, context: Context) -> bool:
    """Return whether a key's policy leaves it to the policies of the account's roles."""
    return policy is None or _for_account(policy).judge(need, context).effect is Effect.ALLOW


@lru_cache(1024)
def _for_account(policy: Policy) -> Policy:
    """Return the part of a resource's policy that is about the whole account."""
    return policy.for_principal("AWS", ROOT)


def _why(session: Session, need: Need, reason: str) -> str:
    """Return a denial in IAM's words.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    on = "" if need.resource == "*" else f" on resource: {need.resource}"
    return f"User: {session.arn} is not authorized to perform: {need.action}{on} {reason}"


def _resource_policy(need: Need) -> Policy | None:
    """Return the policy of the resource that a need is about, if it has one."""
    read = POLICIES.get(need.action.partition(":")[0])
    document = read(need.resource) if read else None
    return _compiled(need.resource, document) if document else None


def _compiled(arn: str, document: Any) -> Policy:
    """Return a resource's policy, which is compiled again when moto has another document of it."""
    kept, policy = KEPT.get(arn, (None, None))
    if policy is None or (kept is not document and kept != document):
        policy = read_policy(document.decode() if isinstance(document, bytes) else document)
        KEPT[arn] = document, policy
    return policy


KEPT: dict[str, tuple[Any, Policy]] = {}
"""The document and the compiled policy of each resource."""


def _policy_of_bucket(arn: str) -> Any:
    name = arn.rpartition(":")[2].partition("/")[0]
    bucket = moto_backend("s3")[ACCOUNT]["aws"].buckets.get(name)
    return bucket and bucket.policy


def _policy_of_queue(arn: str) -> Any:
    _, _, _, region, account, name = arn.split(":", 5)
    queue = moto_backend("sqs")[account][region].queues.get(name)
    return queue and queue.policy


def _policy_of_key(arn: str) -> Any:
    _, _, _, region, account, name = arn.split(":", 5)
    key = moto_backend("kms")[account][region].keys.get(name.partition("/")[2])
    return key and key.policy


def _policy_of_topic(arn: str) -> Any:
    _, _, _, region, account, _ = arn.split(":", 5)
    topic = moto_backend("sns")[account][region].topics.get(arn)
    return topic and topic.policy


POLICIES: Mapping[str, Callable[[str], Any]] = {
    "s3": _policy_of_bucket,
    "sqs": _policy_of_queue,
    "kms": _policy_of_key,
    "sns": _policy_of_topic,
}
"""Where the policy documents of resources are, by the prefix of actions."""
