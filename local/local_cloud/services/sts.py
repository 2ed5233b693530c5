"""STS: who a caller is. The functions are a role's session, everybody else is the operator.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html

moto: every caller is one user, whichever key the request is signed with.
"""

from collections.abc import Mapping
from typing import Any

from local_cloud.call import ACCOUNT, Call, Handler, PassOn
from local_cloud.lambda_.functions import FUNCTION_KEY


class Sts:
    """The stand-in for STS."""

    service = "sts"

    def handlers(self) -> Mapping[str, Handler]:
        """Return the operations done here."""
        return {"GetCallerIdentity": self._identity}

    def _identity(self, call: Call, _: PassOn) -> Mapping[str, Any]:
        if call.access_key == FUNCTION_KEY:
            arn, user = f"arn:aws:sts::{ACCOUNT}:assumed-role/functions/local", "AROALOCALFUNCTIONS00:local"
        else:
            arn, user = f"arn:aws:iam::{ACCOUNT}:user/operator", "AIDALOCALOPERATOR000"
        return {"UserId": user, "Account": ACCOUNT, "Arn": arn}
