"""Who calls: the operator, and sessions of roles, each with credentials of its own.

A role's session has an access key, a secret and a session token, as STS gives them
(https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp.html). A function has one session of its
role, named after the function as on AWS. The operator is an administrator.
"""

import hashlib
import secrets
from dataclasses import dataclass
from functools import lru_cache

from local_cloud.call import ACCOUNT
from local_cloud.signing import OPERATOR_KEY, OPERATOR_SECRET


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """A principal with its credentials; it is equal to itself alone, which is quick to look up."""

    access_key: str
    secret: str
    token: str | None = None
    role_arn: str | None = None
    """The role that it is a session of; the operator's has none."""
    name: str = "operator"
    of_function: bool = False

    @property
    def arn(self) -> str:
        """Return the principal's ARN, as messages and policies name it."""
        if self.role_arn is None:
            return f"arn:aws:iam::{ACCOUNT}:user/{self.name}"
        role = self.role_arn.rpartition("/")[2]
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{self.name}"


OPERATOR = Session(OPERATOR_KEY, OPERATOR_SECRET)


class Sessions:
    """Every session, by access key."""

    def __init__(self) -> None:
        self._by_key = {OPERATOR.access_key: OPERATOR}

    def get(self, access_key: str | None) -> Session | None:
        """Return a session, or None where no one has that access key."""
        return self._by_key.get(access_key or "")

    def add(self, session: Session) -> Session:
        """Know a session from now on."""
        self._by_key[session.access_key] = session
        return session

    def of_function(self, name: str, role_arn: str) -> Session:
        """Return the session of a function's role; it is the same as long as the function has that role."""
        access_key, secret, token = _credentials_of(name, role_arn)
        found = self._by_key.get(access_key)
        return found or self.add(Session(access_key, secret, token, role_arn, name, of_function=True))

    def open(self, role_arn: str, name: str) -> Session:
        """Open one more session of a role."""
        access_key = f"ASIA{secrets.token_hex(8).upper()}"
        token = secrets.token_urlsafe(64)
        return self.add(Session(access_key, secrets.token_hex(20), token, role_arn, name))

    def clear(self) -> None:
        """Forget every session but the operator's."""
        self._by_key = {OPERATOR.access_key: OPERATOR}


@lru_cache(256)
def _credentials_of(name: str, role_arn: str) -> tuple[str, str, str]:
    """Return access key, secret and token of a function, which are the same in every cloud."""
    seed = hashlib.sha512(f"{name} {role_arn}".encode()).hexdigest()
    return f"ASIA{seed[:16].upper()}", seed[16:56], f"token-of-a-session-{seed[56:]}"
