"""A function's role on MiniStack: its policies, read and written as an administrator would."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Statement = Mapping[str, Any]


class Role:
    """A role and its inline policies."""

    def __init__(self, iam: Any, name: str) -> None:
        """Read and write through this client of IAM."""
        self._iam = iam
        self._name = name

    def policies(self) -> dict[str, list[Statement]]:
        """Return the statements of each policy, by the policy's name."""
        names = self._iam.list_role_policies(RoleName=self._name)["PolicyNames"]
        read = {name: self._iam.get_role_policy(RoleName=self._name, PolicyName=name) for name in names}
        return {name: policy["PolicyDocument"]["Statement"] for name, policy in read.items()}

    def documents(self) -> dict[str, Mapping[str, Any]]:
        """Return each policy as a document."""
        return {name: _document(statements) for name, statements in self.policies().items()}

    def allow_batches(self) -> None:
        """Allow to send in batches what may be sent.

        MiniStack wants the right `sqs:SendMessageBatch`, which AWS does not know: there `sqs:SendMessage` is
        enough (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html).
        """
        granted = [
            {**statement, "Action": "sqs:SendMessageBatch"}
            for statements in self.policies().values()
            for statement in statements
            if "sqs:SendMessage" in actions_of(statement)
        ]
        if granted:
            self._put("batches", granted)

    @contextmanager
    def without(self, action: str) -> Iterator[None]:
        """Take a right away for as long as the context lasts."""
        before = self.policies()
        assert any(action in actions_of(each) for statements in before.values() for each in statements)
        for name, statements in before.items():
            left = [{**each, "Action": actions_of(each) - {action}} for each in statements]
            self._put(name, [{**each, "Action": sorted(each["Action"])} for each in left if each["Action"]])
        try:
            yield
        finally:
            for name, statements in before.items():
                self._put(name, statements)

    def _put(self, name: str, statements: Sequence[Statement]) -> None:
        document = json.dumps(_document(statements))
        self._iam.put_role_policy(RoleName=self._name, PolicyName=name, PolicyDocument=document)


def _document(statements: Sequence[Statement]) -> Mapping[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def actions_of(statement: Statement) -> set[str]:
    """Return the actions of a statement."""
    actions = statement["Action"]
    return {actions} if isinstance(actions, str) else set(actions)
