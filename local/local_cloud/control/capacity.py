"""What EC2 has room for, and how much of it the account may use; no limits unless the operator sets some.

    {"zones": [{"zone": "eu-central-1a", "type": "m5.*", "free": 2}],
     "quotas": [{"region": "eu-central-1", "vcpus": 32, "instances": 20}]}

`free` is how many instances more a zone takes of a type (`*` and `?` match); every launch and start uses one
up. Quotas hold for the instances that are pending or running. The first that matches decides.
"""

import fnmatch
import threading
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A part of the document; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid")


class Zone(Strict):
    """What a zone has left of a type of instance."""

    zone: str = "*"
    type: str = "*"
    free: Count


class Quota(Strict):
    """What the account may run in a region."""

    region: str = "*"
    vcpus: Count | None = None
    instances: Count | None = None


class Limits(Strict):
    """The whole document."""

    zones: list[Zone] = []
    quotas: list[Quota] = []


class Capacity:
    """The limits in force."""

    def __init__(self) -> None:
        """Start without limits."""
        self._lock = threading.Lock()
        self._limits = Limits()

    def replace(self, document: object) -> None:
        """Put these limits in force, and no others.

        Raises:
            ValueError: the document is wrong; the message names every place.
        """
        try:
            limits = Limits.model_validate(document)
        except ValidationError as error:
            problems = (f"/{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ValueError("; ".join(problems)) from error
        with self._lock:
            self._limits = limits

    def to_document(self) -> dict[str, Any]:
        """Return the limits in force, with what is left."""
        return self._limits.model_dump(exclude_none=True)

    def free(self, zone: str, instance_type: str) -> int | None:
        """Return how many instances more a zone takes; None: any number."""
        found = self._zone(zone, instance_type)
        return found.free if found else None

    def use(self, zone: str, instance_type: str, count: int) -> None:
        """Note that so many were launched."""
        with self._lock:
            if found := self._zone(zone, instance_type):
                found.free -= count

    def quota(self, region: str) -> Quota:
        """Return what the account may run in a region."""
        found = (each for each in self._limits.quotas if fnmatch.fnmatchcase(region, each.region))
        return next(found, Quota())

    def _zone(self, zone: str, instance_type: str) -> Zone | None:
        for each in self._limits.zones:
            if fnmatch.fnmatchcase(zone, each.zone) and fnmatch.fnmatchcase(instance_type, each.type):
                return each
        return None
