"""Defines all errors. Facts are attributes; the text is made from them: what failed, on what, and why.

Two branches decide what a worker does: after a `Retryable`, the job is tried again later; a `Permanent` is
recorded on the job, which fails with the error's text as its reason. An error that is neither is a bug: it
leaves the worker, and its message ends in the dead-letter queue.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chalicelib.masking import mask


class FarshoreError(Exception):
    """An error of Farshore: `operation` failed on `resource`, in `region`, with AWS's `code` if known.

    `why` may quote an SDK, a driver or an instance, so secrets in it are masked.
    """

    def __init__(
        self,
        why: str,
        *,
        operation: str | None = None,
        resource: str | None = None,
        region: str | None = None,
        code: str | None = None,
    ) -> None:
        self.why = mask(why)
        self.operation = operation
        self.resource = mask(resource) if resource else resource
        self.region = region
        self.code = code
        super().__init__(self.why)

    def __str__(self) -> str:
        """Return what failed, on what, where, and why, leaving out what is not known."""
        words = (
            self.operation and f"{self.operation} failed",
            self.resource and (f"on {self.resource}" if self.operation else self.resource),
            self.region and f"in {self.region}",
        )
        what = " ".join(word for word in words if word)
        code = f" [{self.code}]" if self.code else ""
        return f"{what}: {self.why}{code}" if what else f"{self.why}{code}"


class Retryable(FarshoreError):
    """The same call may succeed later, unchanged."""


class Throttled(Retryable):
    """A request rate limit was hit (EC2 `RequestLimitExceeded` and its like)."""


class Unavailable(Retryable):
    """The other side did not answer, or answered that it is unavailable."""


class QuotaReached(Retryable):
    """The account has as many under way as its quota allows (concurrent copies, pending snapshots)."""


class LeaseHeld(Retryable):
    """Another worker holds the job's lease; poke the job again after `retry_after`."""

    def __init__(self, job_id: str, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__("another worker holds its lease", operation="advance", resource=job_id)


class Permanent(FarshoreError):
    """The same call will never succeed unchanged."""


# At most this many problems are in an error's text; `problems` has all of them.
_PROBLEMS_SAID = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of an input: where it is (`pointer`, RFC 6901), the value, and what would be right."""

    pointer: str
    value: Any
    expected: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.value!r} - {self.expected}"


class InvalidInput(Permanent):
    """The caller's input is wrong; every fault is listed, not only the first."""

    def __init__(self, what: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        said = [str(problem) for problem in self.problems[:_PROBLEMS_SAID]]
        if len(self.problems) > len(said):
            said.append(f"and {len(self.problems) - len(said)} more")
        super().__init__("; ".join(said), operation=f"reading {what}")


class Misconfigured(InvalidInput):
    """The settings of the stage are wrong; only its operator can mend that."""


class NotFound(Permanent):
    """The named thing does not exist."""


class Conflict(Permanent):
    """The present state does not allow it, e.g. a snapshot is in use or an upload is finished already."""


class SnapshotInUse(Conflict):
    """An AMI uses the snapshot (`InvalidSnapshot.InUse`); it can be deleted once the AMI is deregistered."""


class NoRoom(Permanent):
    """EC2 has no room for such an instance in this place now; it may have in another."""


class LimitReached(Permanent):
    """The account may not run as much: a quota of its own, which only an increase raises."""


class Denied(Permanent):
    """The credentials do not allow it."""


class VaultMissing(Permanent):
    """The vault's bucket or container does not exist, or its provider is unknown."""


class IntegrityFailure(Permanent):
    """Bytes are not those that were written. Never retried blindly, never swallowed."""


class ScriptFailed(Permanent):
    """A user's script, or the runner around it, failed."""
