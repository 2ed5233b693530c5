"""STS: who a caller is.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html

moto: every caller is one user, whichever key the request is signed with.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import ACCOUNT, Call, Handler, PassOn
from local_cloud.services.iam.sessions import OPERATOR, Sessions


class Sts:
    """The stand-in for STS."""

    service = "sts"

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"GetCallerIdentity": self._identity}

    def _identity(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        session = self._sessions.get(call.access_key) or OPERATOR
        user = f"AROALOCALROLE0000000:{session.name}" if session.role_arn else "AIDALOCALOPERATOR000"
        return {"UserId": user, "Account": ACCOUNT, "Arn": session.arn}
