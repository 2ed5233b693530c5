"""How a client signs a request to the API: with botocore, which knows nothing of what checks it here."""

from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

OPERATOR_KEY, OPERATOR_SECRET = "test", "test"
OPERATOR = Credentials(OPERATOR_KEY, OPERATOR_SECRET)


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    region: str,
    by: Credentials = OPERATOR,
) -> dict[str, str]:
    """Return the headers of a request with its signature among them.

    The URL is sent as it is given here; its query has to be percent-encoded, a blank as `%20`.
    """
    request = AWSRequest(method, url, dict(headers), body)
    SigV4Auth(by, "execute-api", region).add_auth(request)
    return dict(request.headers.items())
