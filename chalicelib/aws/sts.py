"""Who a process is to AWS, and what time it is there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from chalicelib.aws.errors import translated_errors

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient


@dataclass(frozen=True, slots=True)
class Identity:
    """An account and the ARN of who asks in it; `answered_at` is AWS's time to the second, if it was said."""

    account: str
    arn: str
    answered_at: datetime | None

    @property
    def role(self) -> str:
        """The role of a role's session, else the ARN (`arn:aws:sts::1:assumed-role/ROLE/SESSION`)."""
        kind, _, rest = self.arn.rpartition(":")[2].partition("/")
        return rest.rpartition("/")[0] if kind == "assumed-role" else self.arn


class Sts:
    """STS of the home region; everybody may ask it who he is."""

    def __init__(self, client: "STSClient") -> None:
        self._client = client

    def identity(self) -> Identity:
        """Return who asks."""
        with translated_errors("GetCallerIdentity", None, self._client.meta.region_name):
            answer = self._client.get_caller_identity()
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        at = parsedate_to_datetime(said).astimezone(UTC) if said else None
        return Identity(answer["Account"], answer["Arn"], at)
