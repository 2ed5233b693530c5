"""Translates what libcloud and the network raise into our errors, by type; texts are never interpreted.

Imports libcloud, so only `offsite` imports this, and only when an off-site vault is used.
"""

from libcloud.common.exceptions import BaseHTTPError, RateLimitReachedError
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.storage.types import (
    ContainerDoesNotExistError,
    InvalidContainerNameError,
    ObjectDoesNotExistError,
    ObjectHashMismatchError,
)
from requests.exceptions import RequestException

from chalicelib.errors import (
    Denied,
    FarshoreError,
    IntegrityFailure,
    NotFound,
    Permanent,
    Throttled,
    Unavailable,
    VaultMissing,
)

# OSError: the network's errors, and those of the folder behind LOCAL. Anything else is a bug and stays loud.
RAISED = (LibcloudError, BaseHTTPError, RequestException, OSError, NotImplementedError)

# The first match counts. A bare LibcloudError has no status: it may be temporary, and if not, the queue gives
# up.
_KINDS: tuple[tuple[type[Exception], type[FarshoreError]], ...] = (
    (ContainerDoesNotExistError, VaultMissing),
    (InvalidContainerNameError, VaultMissing),
    (ObjectDoesNotExistError, NotFound),
    (ObjectHashMismatchError, IntegrityFailure),
    (InvalidCredsError, Denied),
    (RateLimitReachedError, Throttled),
    (PermissionError, Denied),
    (NotImplementedError, Permanent),
)
_BY_STATUS: dict[int, type[FarshoreError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    408: Unavailable,
    422: IntegrityFailure,  # Swift, when the ETag sent is not the MD5 of what arrived
    429: Throttled,
}


def kind_of(exc: Exception) -> type[FarshoreError]:
    """Return our type of error for one of `RAISED`."""
    for raised, kind in _KINDS:
        if isinstance(exc, raised):
            return kind
    if isinstance(exc, BaseHTTPError):
        return _BY_STATUS.get(exc.code, Unavailable if exc.code >= 500 else Permanent)
    return Unavailable


def reason_of(exc: Exception) -> str:
    """Return the exception's message, without the driver's memory address that libcloud's repr has."""
    words = exc.value if isinstance(exc, LibcloudError) else exc
    return str(words or type(exc).__name__)
