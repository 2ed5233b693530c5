"""Opens inventories: one a day (UTC) for each region, each vault and the catalog, and on request.

The time of the next one is a record in the index of what is due, so that an idle tick makes no further query.
Invariant: the day's jobs, with ids made of the day, are opened before the next day's are scheduled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.catalog.location import Location
from chalicelib.catalog.store.table import Table
from chalicelib.catalog.store.wake import INVENTORY, waking
from chalicelib.catalog.store.writes import Attr, Write
from chalicelib.errors import InvalidInput, Problem
from chalicelib.jobs.engine import Engine
from chalicelib.jobs.job import JobId
from chalicelib.jobs.tick import DueWork
from chalicelib.jobs.work import inventory_request

# Some time after midnight, when most schedules are due.
TIME_OF_DAY = timedelta(hours=1, minutes=40)


@dataclass(frozen=True, slots=True)
class Inventories:
    """Opens the inventories of all places."""

    engine: Engine
    table: Table
    places: tuple[Location, ...]
    now: Callable[[], datetime]

    def schedule(self) -> None:
        """Schedule the daily inventories, unless that is done already."""
        at = next_at(self.now())
        put = {"format": 1, **waking(at)}
        self.table.commit([Write(INVENTORY, put=put, condition=Attr("pk").not_exists())])

    def run(self, due: DueWork) -> None:
        """Open the day's inventories when they are due, and schedule the next day's."""
        if not due.inventory:
            return
        now = self.now()
        self.open(f"{now:%Y-%m-%d}")
        self.table.commit([Write(INVENTORY, sets=waking(next_at(now)))])

    def _places_of(self, region: str | None, vault: str | None) -> tuple[Location, ...]:
        """Return the place of this region or this vault; all places if neither is named.

        Raises:
            InvalidInput: both are named, or one that does not exist.
        """
        if region is not None and vault is not None:
            expected = "a region or a vault, not both"
            raise InvalidInput("the inventory request", [Problem("/vault", vault, expected)])
        for name, wanted in (("region", region), ("vault", vault)):
            there = {getattr(place, name): place for place in self.places if getattr(place, name)}
            if wanted is not None and wanted not in there:
                expected = f"one of {', '.join(sorted(there))}"
                raise InvalidInput("the inventory request", [Problem(f"/{name}", wanted, expected)])
            if wanted is not None:
                return (there[wanted],)
        return self.places

    def open(self, cause: str, region: str | None = None, vault: str | None = None) -> tuple[JobId, ...]:
        """Open an inventory of a region or a vault, or of all places; the same cause gives the same jobs.

        Raises:
            InvalidInput: both are named, or one that does not exist.
        """
        places = self._places_of(region, vault)
        now = self.now()
        return self.engine.open([inventory_request(place, cause, now) for place in places])


def next_at(now: datetime) -> datetime:
    """Return when the next inventory is due. Pure."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0) + TIME_OF_DAY
    return today if today > now else today + timedelta(days=1)
