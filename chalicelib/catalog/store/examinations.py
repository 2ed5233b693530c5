"""What examinations of the stage have begun: probes of vaults, and events sent round by other regions.

| record | sk | what it has |
|---|---|---|
| probe | `probe#VAULT` | the newest job that probes the vault |
| round trip | `event#REGION` | when the newest event was put on that region's bus, and when it was home |

Invariant: an event is counted as arrived only if its token is that of the newest one sent.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from chalicelib.catalog.store.items import moment, stamp
from chalicelib.catalog.store.table import Refused, Table

PARTITION: Final = "examinations"
_PROBE, _EVENT = "probe#", "event#"


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """An event that was sent, or `refused`, with the reason; `took` is None until it has arrived."""

    sent_at: datetime
    took: timedelta | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """The job that last probed each vault, and the last round trip of each region."""

    probes: dict[str, str] = field(default_factory=dict)
    trips: dict[str, RoundTrip] = field(default_factory=dict)


class ExaminationStore:
    """Remembers examinations."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def note_probe(self, vault: str, job: str) -> None:
        """Record the newest job that probes a vault."""
        self._table.put({"pk": PARTITION, "sk": f"{_PROBE}{vault}", "format": 1, "job": job})

    def note_sent(self, region: str, token: str, now: datetime, refused: str = "") -> None:
        """Record that an event is about to be put on a region's bus, or was refused there."""
        key = {"pk": PARTITION, "sk": f"{_EVENT}{region}"}
        facts = {"token": token, "sent_at": stamp(now), "refused": refused or None}
        self._table.put({**key, "format": 1, **facts})

    def note_arrival(self, region: str, token: str, now: datetime) -> bool:
        """Record that an event has arrived; return whether it was the newest one, for the first time."""
        answer = self._table.update(
            PARTITION,
            f"{_EVENT}{region}",
            "SET arrived_at = :now",
            names={"#token": "token"},
            values={":now": stamp(now), ":token": token},
            condition="#token = :token AND attribute_not_exists(arrived_at)",
        )
        return not isinstance(answer, Refused)

    def read(self) -> Examined:
        """Return what was examined last."""
        found = Examined()
        for item in self._table.partition(PARTITION):
            kind, _, name = item["sk"].partition("#")
            if kind == "probe":
                found.probes[name] = item["job"]
            else:
                sent_at = moment(item["sent_at"])
                took = moment(item["arrived_at"]) - sent_at if "arrived_at" in item else None
                found.trips[name] = RoundTrip(sent_at, took, item.get("refused", ""))
        return found
